"""A key and a token for gateways that check tokens: Ed25519, as KEA's own, made by openssl."""

import base64
import json
import subprocess
import time


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments, given=b""):
    return subprocess.run(["openssl", *map(str, arguments)], input=given, capture_output=True, check=True).stdout


def issue(folder):
    """A set of public keys (JWKS) and a token that is good for a day."""
    key, message = folder / "jwt-key.pem", folder / "jwt-message"
    openssl("genpkey", "-algorithm", "ed25519", "-out", key)
    # The last 32 bytes of the public key's DER are the key itself (RFC 8410).
    public = openssl("pkey", "-in", key, "-pubout", "-outform", "DER")[-32:]
    jwks = {"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "bench", "x": encoded(public)}]}
    now = int(time.time())
    claims = {"iss": "bench", "sub": "ada", "roles": ["consumer"], "iat": now, "exp": now + 86400, "jti": "1"}
    parts = [encoded(json.dumps(part).encode()) for part in ({"alg": "EdDSA", "kid": "bench", "typ": "JWT"}, claims)]
    message.write_text(".".join(parts))
    signature = openssl("pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", message)
    return json.dumps(jwks), ".".join([*parts, encoded(signature)])
