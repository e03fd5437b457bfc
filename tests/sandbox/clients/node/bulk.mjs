// Bulk API 1.0 and 2.0: load, results and queries.
import { connect, refusal, print } from './start.mjs';

const found = {};
const conn = connect();
conn.bulk.pollInterval = 20;
conn.bulk2.pollInterval = 20;

const rows = (stream) =>
  new Promise((resolve, reject) => {
    const records = [];
    stream.on('record', (each) => records.push(each));
    stream.on('error', reject);
    stream.on('end', () => resolve(records));
  });

// 1.0
const inserted = await conn.bulk.load('Contact', 'insert', [
  ...Array.from({ length: 5 }, (_, n) => ({ LastName: `One ${n}` })),
  { FirstName: 'none', LastName: '' },
]);
found.insert = inserted.map((each) => each.success);
found.insertError = inserted[5].errors[0].split(':')[0];
const ids = inserted.filter((each) => each.success).map((each) => each.id);
found.update = (await conn.bulk.load('Contact', 'update', ids.map((Id) => ({ Id, Title: 'T' })))).map((e) => e.success);
found.upsert = (
  await conn.bulk.load('Contact', 'upsert', { extIdField: 'External_Id__c' }, [
    { External_Id__c: 'k1', LastName: 'K1' },
    { External_Id__c: 'k2', LastName: 'K2' },
  ])
).map((each) => each.success);
found.query = (await rows(await conn.bulk.query('SELECT LastName FROM Contact ORDER BY LastName'))).map((e) => e.LastName);
found.delete = (await conn.bulk.load('Contact', 'delete', [{ Id: ids[0] }])).map((each) => each.success);
found.hardDelete = (await conn.bulk.load('Contact', 'hardDelete', [{ Id: ids[1] }])).map((each) => each.success);

// 2.0
const loaded = await conn.bulk2.loadAndWaitForResults({
  object: 'Contact',
  operation: 'upsert',
  externalIdFieldName: 'External_Id__c',
  input: [
    { External_Id__c: 'k2', LastName: 'K2', Title: null },
    { External_Id__c: 'k3', LastName: 'K3, "quoted"' },
    { External_Id__c: 'k4', LastName: null },
  ],
});
found.upsert2 = [
  loaded.successfulResults.map((each) => [each.sf__Created, each.LastName]),
  loaded.failedResults.map((each) => each.sf__Error.split(':')[0]),
  loaded.unprocessedRecords.length,
];
const job = conn.bulk2.createJob({ operation: 'insert', object: 'Contact' });
found.opened = (await job.open()).state;
await job.uploadData('LastName\nBy hand\n');
await job.close();
await job.poll(20, 20000);
found.info = await job.check().then((info) => [info.state, info.numberRecordsProcessed]);
const aborted = conn.bulk2.createJob({ operation: 'delete', object: 'Contact' });
await aborted.open();
await aborted.abort();
found.aborted = (await aborted.check()).state;
found.query2 = (await (await conn.bulk2.query("SELECT LastName FROM Contact WHERE LastName LIKE 'K%'")).toArray()).length;
const keyed = await conn.query("SELECT Id FROM Contact WHERE LastName LIKE 'K%'");
const gone = await conn.bulk2.loadAndWaitForResults({
  object: 'Contact',
  operation: 'hardDelete',
  input: keyed.records.map((each) => ({ Id: each.Id })),
});
found.hardDelete2 = gone.successfulResults.length;
found.refused = await refusal(conn.bulk2.createJob({ operation: 'insert', object: 'Nothing__c' }).open());
print(found);
