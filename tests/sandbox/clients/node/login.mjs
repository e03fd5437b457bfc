// Logins by SOAP, and by OAuth with password and client credentials; then identity and logout.
import { jsforce, sandbox, connect, refusal, print } from './start.mjs';

const found = {};

const soap = new jsforce.Connection({ loginUrl: sandbox.url, version: '60.0' });
found.soap = await soap.login(sandbox.username, sandbox.password + sandbox.securityToken);
found.soapInstance = soap.instanceUrl;
found.soapVersions = (await soap.request('/services/data')).length;
found.wrongPassword = await refusal(
  new jsforce.Connection({ loginUrl: sandbox.url, version: '60.0' }).login(sandbox.username, 'wrong'),
);

const oauth2 = { loginUrl: sandbox.url, clientId: sandbox.clientId, clientSecret: sandbox.clientSecret };
const oauth = new jsforce.Connection({ oauth2, version: '60.0' });
found.password = await oauth.login(sandbox.username, sandbox.password + sandbox.securityToken);

const server = new jsforce.Connection({ oauth2, instanceUrl: sandbox.url, version: '60.0' });
found.clientCredentials = await server.authorize({ grant_type: 'client_credentials' });

const identity = await connect().identity();
found.identity = { user: identity.user_id, org: identity.organization_id, name: identity.username };
found.limits = (await connect().limits()).DailyApiRequests.Max;

const token = soap.accessToken;
await soap.logout();
const after = new jsforce.Connection({ instanceUrl: sandbox.url, accessToken: token, version: '60.0' });
found.afterLogout = await refusal(after.query('SELECT Id FROM Contact'));
print(found);
