"""Prints a server's certificate in PEM if it has the fingerprint: python certificate.py wss://HOST:PORT/ws SHA256"""

import hashlib
import ssl
import sys
from urllib.parse import urlsplit

url, expected = urlsplit(sys.argv[1]), sys.argv[2].replace(":", "").lower()
pem = ssl.get_server_certificate((url.hostname, url.port))
found = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
assert found == expected, f"{found}, expected {expected}"
print(pem, end="")
