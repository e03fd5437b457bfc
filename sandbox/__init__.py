"""A practice Salesforce org over HTTP: `python -m sandbox`. It imports nothing of sfsync."""
