// Describe, single records, collections, and queries.
import { connect, jsforce, refusal, print, sandbox } from './start.mjs';

const found = {};
const conn = connect();
const contacts = conn.sobject('Contact');

found.global = (await conn.describeGlobal()).sobjects.length;
const described = await contacts.describe();
found.describe = [described.keyPrefix, described.fields.length, described.childRelationships.length > 0];
found.cached = (await contacts.describe$()).name;
found.layouts = Object.keys(await contacts.layouts()).sort();
found.compactLayouts = Object.keys(await contacts.compactLayouts()).sort();
found.approvalLayouts = await contacts.approvalLayouts();
found.listviews = (await contacts.listviews()).listviews;
found.quickActions = await contacts.quickActions();

// Single records.
const made = await contacts.create({ LastName: 'Single', External_Id__c: 'one' });
found.created = [made.success, made.errors];
found.read = (await contacts.retrieve(made.id)).LastName;
found.updated = (await contacts.update({ Id: made.id, Title: 'Boss' })).success;
found.upserted = (await contacts.upsert({ External_Id__c: 'one', Title: 'Chief' }, 'External_Id__c')).success;
found.upsertedNew = (await contacts.upsert({ External_Id__c: 'two', LastName: 'Two' }, 'External_Id__c')).success;
found.missing = await refusal(contacts.create({ FirstName: 'x' }));
found.recent = (await contacts.recent()).length;
found.destroyed = (await contacts.destroy(made.id)).success;
found.gone = await refusal(contacts.retrieve(made.id));

// Collections.
const many = await contacts.create([{ LastName: 'A' }, { LastName: 'B' }, { FirstName: 'none' }]);
found.collection = many.map((each) => each.success || each.errors[0].statusCode);
found.allOrNone = (await contacts.create([{ LastName: 'C' }, {}], { allOrNone: true })).map(
  (each) => each.errors[0].statusCode,
);
const ids = many.filter((each) => each.success).map((each) => each.id);
found.retrieved = (await contacts.retrieve(ids)).map((each) => each.LastName);
found.changed = (await contacts.update(ids.map((Id) => ({ Id, Title: 'T' })))).map((each) => each.success);
found.keyed = (
  await contacts.upsert([{ External_Id__c: 'two', Title: 'x' }, { External_Id__c: 'three', LastName: 'Three' }], 'External_Id__c')
).map((each) => each.created);
found.recursive = (
  await contacts.create(
    Array.from({ length: 450 }, (_, n) => ({ LastName: `Row ${String(n).padStart(3, '0')}` })),
    { allowRecursive: true },
  )
).filter((each) => each.success).length;

// Queries.
const all = await conn.query("SELECT Id, LastName FROM Contact WHERE LastName LIKE 'Row%' ORDER BY LastName", {
  autoFetch: true,
  maxFetch: 10000,
  headers: { 'Sforce-Query-Options': 'batchSize=200' },
});
found.fetched = [all.records.length, all.totalSize, all.done, all.records[449].LastName];
found.found = await contacts
  .find({ LastName: { $like: 'Row 00%' }, Title: null }, 'LastName')
  .sort('LastName', 'DESC')
  .limit(3)
  .execute()
  .then((rows) => rows.map((each) => each.LastName));
found.star = Object.keys(await contacts.findOne({ LastName: 'A' })).length > 60;
found.count = await contacts.count({ LastName: { $in: ['A', 'B'] } });
const account = await conn.sobject('Account').create({ Name: 'Parent' });
await contacts.update({ Id: ids[0], AccountId: account.id });
const children = await conn.sobject('Account').select('Name').include('Contacts').select('LastName').end().execute();
found.children = children.map((each) => [each.Name, each.Contacts.records.map((child) => child.LastName)]);
found.malformed = await refusal(conn.query('SELECT Id FORM Contact'));
found.unknown = await refusal(conn.query('SELECT Nothing__c FROM Contact'));
found.search = (await conn.search('FIND {Three} IN ALL FIELDS RETURNING Contact(Id, LastName)')).searchRecords.map(
  (each) => each.LastName,
);
found.explained = (await conn.query('SELECT Id FROM Contact').explain()).plans.length;
found.changedByQuery = (await contacts.find({ LastName: 'B' }).update({ Title: '${LastName} x' })).map((each) => each.success);
found.csv = '';
for await (const chunk of conn.query("SELECT LastName, Title FROM Contact WHERE LastName = 'B'").stream('csv')) {
  found.csv += chunk;
}

// Several matches of a key, a session that has ended, and what has changed lately.
await contacts.create([{ LastName: 'X', Legacy_Code__c: 'x' }, { LastName: 'Y', Legacy_Code__c: 'x' }]);
found.several = await refusal(contacts.upsert({ Legacy_Code__c: 'x', Title: 'T' }, 'Legacy_Code__c'));
const renewing = new jsforce.Connection({
  instanceUrl: sandbox.url,
  accessToken: 'ended',
  version: '60.0',
  refreshFn: (_, done) => done(null, sandbox.token),
});
found.renewed = await renewing.sobject('Contact').count({ Legacy_Code__c: 'x' });
found.cleared = (await contacts.find({ LastName: { $like: 'Row%' } }).destroy({ allowBulk: false, allowRecursive: true })).length;
found.destroyedMany = (await contacts.destroy(ids)).map((each) => each.success);
const span = [-3600, 60].map((seconds) => new Date(Date.now() + seconds * 1000).toISOString());
found.deleted = (await contacts.deleted(...span)).deletedRecords.length;
found.updatedLately = (await contacts.updated(...span)).ids.length;
found.withDeleted = (await conn.query('SELECT Id FROM Contact', { scanAll: true })).totalSize;
found.left = await contacts.count({ LastName: { $ne: null } });
print(found);
