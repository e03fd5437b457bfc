// CometD: a PushTopic, a platform event, change events, and a replay.
import { connect, load, print, sandbox } from './start.mjs';

const conn = connect();
const setup = await fetch(`${sandbox.url}/_sandbox/change-data`, {
  method: 'POST',
  body: JSON.stringify({ objects: ['Contact'] }),
});
if (!setup.ok) throw new Error(await setup.text());
const found = { topic: [], event: [], change: [], replayed: [] };

async function until(list, count) {
  const deadline = Date.now() + 10000;
  while (list.length < count && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
}

await conn.sobject('PushTopic').create({
  Name: 'NewContacts',
  Query: 'SELECT Id, LastName FROM Contact',
  ApiVersion: 60.0,
  NotifyForFields: 'Referenced',
});
await conn.streaming.topic('NewContacts').subscribe((message) => {
  found.topic.push([message.event.type, message.sobject.LastName]);
});
await conn.streaming.subscribe('/event/Order_Event__e', (message) => {
  found.event.push(message.payload.Order_Number__c);
});
await conn.streaming.subscribe('/data/ContactChangeEvent', (message) => {
  found.change.push([message.payload.ChangeEventHeader.changeType, message.payload.LastName ?? null]);
});
await conn.sobject('Contact').create({ LastName: 'Told' });
await conn.sobject('Order_Event__e').create({ Order_Number__c: 'O1' });
await Promise.all([until(found.topic, 1), until(found.event, 1), until(found.change, 1)]);

const { StreamingExtension } = load('jsforce/api/streaming');
const replay = new StreamingExtension.Replay('/event/Order_Event__e', -2);
const late = conn.streaming.createClient([replay]);
await late.subscribe('/event/Order_Event__e', (message) => found.replayed.push(message.payload.Order_Number__c));
await until(found.replayed, 1);
print(found);
process.exit(0);
