"""VERIFY.md: how to check a package with and without Firebreak, for whoever receives it."""

from __future__ import annotations

from firebreak.model import Mode

_TEXT = """\
# Evidence of incident {incident_id}{marking}

The package is a folder with `bag/` (BagIt, RFC 8493) and `attestation.dsse.json` (an in-toto Statement v1
in a DSSE envelope). Take the public key from the people who run Firebreak, never from whoever handed over
the package.

## With Firebreak

    firebreak evidence verify PACKAGE {option} KEY.pub

It works offline, runs numbered checks, and names every item that is missing, added or altered. With
`--manifest-sha256 HASH`, the hash that the run named at its end, an older package in its place is noticed.

## Without Firebreak

1. Every file is as listed:

       cd PACKAGE/bag
       sha256sum -c manifest-sha256.txt tagmanifest-sha256.txt
       find data -type f | wc -l; wc -l < manifest-sha256.txt     # both counts must be equal

2. The list itself was signed. From the folder that holds PACKAGE:

       python3 - <<'EOF'
       import base64, json
       envelope = json.load(open("PACKAGE/attestation.dsse.json"))
       payload = base64.b64decode(envelope["payload"])
       kind = envelope["payloadType"].encode()
       open("pae.bin", "wb").write(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
       open("sig.der", "wb").write(base64.b64decode(envelope["signatures"][0]["sig"]))
       with open("signed.txt", "w") as signed:
           for subject in json.loads(payload)["subject"]:
               print(subject["digest"]["sha256"] + "  " + subject["name"], file=signed)
       EOF
       openssl dgst -sha256 -verify KEY.pub -signature sig.der pae.bin
       diff signed.txt PACKAGE/bag/tagmanifest-sha256.txt && echo "the signed list is this list"

## What is in it

- `data/exhibits.jsonl`: every exhibit, where it was acquired, how, when, its SHA-256, and the version and
  the retention of its immutable copy.
- `data/custody/custody.jsonl`: who did what to which exhibit, and what each held then (`sha256`, in the
  order of `evidence_ids`; the last entry for an exhibit is about what lies here). Each entry carries the
  hash of the one before it (SHA-256 over RFC 8785 canonical JSON without `this_hash`); the last hash is in
  the signed statement.
"""

_DRILL_NOTE = "\n\n**DRILL. This is practice and not an incident; it is signed with the drill key.**"


def verify_md(incident_id: str, mode: Mode) -> str:
    """Write the instructions of one package."""
    drill = mode is Mode.DRILL
    return _TEXT.format(
        incident_id=incident_id,
        marking=_DRILL_NOTE if drill else "",
        option="--trust-drill" if drill else "--trust",
    )
