// What every script shares: jsforce from the folder it was installed into, the sandbox, and a connection to it.
import { createRequire } from 'node:module';

export const load = createRequire(`${process.env.NODE_CLIENTS}/`);
export const jsforce = load('jsforce');
export const sandbox = JSON.parse(process.argv[2]);

export function connect(version = '60.0') {
  return new jsforce.Connection({ instanceUrl: sandbox.url, accessToken: sandbox.token, version });
}

// The error code of a refusal, or what should have been refused.
export async function refusal(promise) {
  try {
    return { answered: await promise };
  } catch (error) {
    return error.errorCode ?? error.message;
  }
}

export function print(result) {
  process.stdout.write(JSON.stringify(result));
}
