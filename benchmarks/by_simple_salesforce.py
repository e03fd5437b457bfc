"""The same upload by simple-salesforce: `python -m benchmarks.by_simple_salesforce HTTPS_URL CSV_FILE`."""

from __future__ import annotations

import sys

import requests
from simple_salesforce import Salesforce

from benchmarks.by_curl import token


def main(url: str, path: str) -> None:
    salesforce = Salesforce(instance_url=url, session_id=token(url), version="62.0", session=requests.Session())
    # Left to itself it cuts files of this size into pieces that it then finds too large.
    results = salesforce.bulk2.Contact.upsert(csv_file=path, external_id_field="External_Id__c", batch_size=500_000)
    failed = sum(int(result["numberRecordsFailed"]) for result in results)
    if failed:
        sys.exit(f"{failed} rows failed")


if __name__ == "__main__":
    main(*sys.argv[1:3])
