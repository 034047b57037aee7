"""Calls a gateway by what openapi-python-client makes of its document: the package `api_client`."""

import json
import os

from api_client import Client
from api_client.api.notes import notes_create, notes_read
from api_client.models import Draft, Note, Problem

client = Client(base_url=os.environ["GATEWAY"])
note = notes_create.sync(client=client, body=Draft(title="Shopping"))
assert isinstance(note, Note), note
read = notes_read.sync(id=note.id, client=client)
assert isinstance(read, Note), read
missing = notes_read.sync_detailed(id="0" * 20, client=client)
assert isinstance(missing.parsed, Problem), missing
print(
    json.dumps(
        {
            "note": note.to_dict(),
            "same": read.to_dict(),
            "status": missing.status_code,
            "problem": missing.parsed.to_dict(),
        }
    )
)
