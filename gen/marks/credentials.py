"""Content credentials (C2PA) in WAV and MP4: a signed statement that the file is AI-generated, with its manifest.

Files are signed with a key created on this machine on first use, unless ``$AFFEKT_SIGNING`` names a folder with a
user's own ``chain.pem`` and ``key.pem`` (Ed25519); ``AFFEKT_SIGNING=off`` disables signing. A key created here shows
that a file is unchanged since signing, not who signed it.
"""

import json
import os
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_data_path

import gen
from gen.errors import InputError

MIME = {".wav": "audio/wav", ".mp3": "audio/mpeg", ".mp4": "video/mp4", ".mov": "video/quicktime"}
YEARS = 10
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


class Credentials(NamedTuple):
    """The credentials of a file; ``state`` is Valid (unchanged, unknown signer), Trusted or Invalid."""

    state: str
    signer: str
    manifest: dict  # of :func:`gen.provenance.manifest`
    problems: tuple[str, ...]


def sign(path: Path, manifest: dict) -> bool:
    """Adds credentials to a complete file; False if the format, a missing extra or the setting prevents it."""
    place = folder()
    if path.suffix.lower() not in MIME or place is None or find_spec("c2pa") is None:
        return False
    import c2pa

    claim = {
        "claim_generator_info": [{"name": "Affekt", "version": gen.__version__}],
        "format": MIME[path.suffix.lower()],
        "title": f"affekt{path.suffix.lower()}",
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": GENERATED}]},
            },
            {"label": "org.affekt.manifest", "data": {"json": json.dumps(manifest, sort_keys=True)}},
        ],
    }
    signed = path.with_name(f".signed-{path.name}")
    try:
        with c2pa.Builder(claim) as builder:
            builder.sign_file(path, signed, _signer(place))
        os.replace(signed, path)
    finally:
        signed.unlink(missing_ok=True)
    return True


def ready() -> None:
    """Creates the key if needed; raises ``InputError`` if it cannot be stored."""
    place = folder()
    if place is None or find_spec("c2pa") is None or (place / "key.pem").is_file():
        return
    try:
        make(place)
    except OSError as error:
        hint = "set AFFEKT_SIGNING to a writable folder, or to off to disable signing"
        problem = f"the signing key cannot be stored in {place} ({error.strerror})"
        raise InputError(f"{problem}: {hint}") from None


def read(path: Path) -> Credentials | None:
    """Reads and validates the credentials of a file; None if it has none."""
    import c2pa

    reader = c2pa.Reader.try_create(path)
    if reader is None:
        return None
    with reader:
        state, active = reader.get_validation_state(), reader.get_active_manifest() or {}
        results = (reader.get_validation_results() or {}).get("activeManifest", {})
    notes = {one["label"]: one["data"] for one in active.get("assertions", ())}
    ours = notes.get("org.affekt.manifest", {}).get("json", "{}")
    problems = tuple(one["code"] for one in results.get("failure", ()) if one["code"] != "signingCredential.untrusted")
    signature = active.get("signature_info", {})
    return Credentials(
        str(state), signature.get("common_name") or signature.get("issuer", "?"), json.loads(ours), problems
    )


def folder() -> Path | None:
    """The folder of the key: ``$AFFEKT_SIGNING``, or ``affekt/signing`` in the user's data folder; None if disabled."""
    chosen = os.environ.get("AFFEKT_SIGNING")
    if chosen == "off":
        return None
    return Path(chosen) if chosen else user_data_path("affekt", appauthor=False) / "signing"


@cache
def _signer(place: Path):
    import c2pa

    if not (place / "key.pem").is_file():
        make(place)
    chain, key = ((place / name).read_bytes() for name in ("chain.pem", "key.pem"))
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ED25519, chain, key, None))


def make(place: Path) -> None:
    """Creates a key and a self-signed certificate chain in the folder ``place``."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    root, leaf = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    above = _certificate("Affekt development root", root, "Affekt development root", root, authority=True)
    own = _certificate("Affekt development certificate", leaf, "Affekt development root", root, authority=False)
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    place.mkdir(parents=True, exist_ok=True)
    _write(place / "chain.pem", own.public_bytes(pem) + above.public_bytes(pem))
    _write(place / "key.pem", leaf.private_bytes(pem, *plain))


def _certificate(name: str, key, issuer: str, signer, authority: bool):
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    called = lambda text: x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Affekt, this machine"),
            x509.NameAttribute(NameOID.COMMON_NAME, text),
        ]
    )
    uses = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    usage = x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **uses)
    start = datetime.now(UTC) - timedelta(days=1)
    built = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if not authority:
        built = built.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return built.sign(signer, None)


def _write(path: Path, content: bytes) -> None:
    """Writes a file atomically, readable only by this user."""
    draft = path.with_name(f".{os.getpid()}-{path.name}")
    draft.touch(mode=0o600)
    draft.write_bytes(content)
    draft.replace(path)
