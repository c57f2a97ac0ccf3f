"""What is kept out of files that others may read."""

import pytest

from artnet.private import LEFT_OUT, is_private, without_secrets

HEAD = "diff --git a/artnet/x.py b/artnet/x.py\n--- a/artnet/x.py\n+++ b/artnet/x.py\n@@ -1,2 +1,2 @@\n"
SECRETS = (
    "ghp_" + "a1B2" * 9, "url = 'hf_" + "AbCd" * 8 + "'", "AKIA" + "ABCD" * 4, "sk-" + "a1b2" * 8,
    "xoxb-1234567890-abcdef", "password = 'correcthorsebattery'", "API_KEY: 0123456789abcdef", "token=abcdef0123456789",
    '{"client_secret": "0123456789abcdef"}', "https://me:hunter22@host/x", "WANDB_API_KEY=0123456789abcdef0123",
    "glpat-" + "a1B2" * 5, "github_pat_" + "a1B2" * 5, "AIza" + "a1B2" * 9,
    "eyJ" + "a1B2" * 3 + "." + "a1B2" * 3 + ".x",
    "passphrase: correct-horse-battery", "access_key=0123456789abcdef", "private_key = '0123456789abcdef'",
    "credential: 0123456789abcdef",
)  # fmt: skip
CODE = (
    "token = read_token(folder)", "def f(token: str) -> None:", "tokens = 32", "secret: bool = False",
    "password = getpass.getpass()", "self.token = token", "task-level", "lr = 1e-3",
)  # fmt: skip


@pytest.mark.parametrize("sign", ["+", "-", " "])
@pytest.mark.parametrize("line", SECRETS)
def test_a_line_of_a_diff_that_looks_like_a_secret_is_left_out_in_place(line, sign):
    diff = f"{HEAD}{sign}{line}\n+kept = 1\n"
    assert without_secrets(diff) == f"{HEAD}{sign}{LEFT_OUT}\n+kept = 1\n"


def test_a_private_key_and_a_private_file_are_left_out_whole():
    key = "+-----BEGIN OPENSSH PRIVATE KEY-----\n+b3BlbnNzaC1rZXk\n+AAAA\n+-----END OPENSSH PRIVATE KEY-----\n"
    environment = "diff --git a/.env b/.env\n--- a/.env\n+++ b/.env\n@@ -0,0 +1 @@\n+X=y\n"
    diff = without_secrets(HEAD + key + "+kept = 1\n" + environment + HEAD)
    name = environment.splitlines()[0]
    assert diff == HEAD + f"+{LEFT_OUT}\n" * 4 + f"+kept = 1\n{name}\n{LEFT_OUT}\n" + HEAD


def test_ordinary_code_and_files_are_kept():
    diff = HEAD + "".join(f"+{line}\n" for line in CODE)
    assert without_secrets(diff) == diff
    assert not any(map(is_private, ("artnet/keys.py", "docs/credentials.md", "environment.yml", "launch/token.py")))


@pytest.mark.parametrize(
    "name",
    [".env", ".env.local", "prod.env", "a/.env", "server.pem", "server.KEY", "x.p12", "x.pfx", "x.ppk", "x.jks",
     "x.kdbx", "x.keytab", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519.old", ".netrc", "_netrc", ".pypirc",
     ".npmrc", ".pgpass", ".htpasswd", ".git-credentials", ".ssh/config", ".aws/config", ".gnupg/x", ".kube/config",
     ".docker/config.json", "credentials.json", "gcp-credential"],
)  # fmt: skip
def test_files_of_keys_and_passwords_are_known_by_their_names(name):
    assert is_private(name) and is_private(f"artnet/{name}")
