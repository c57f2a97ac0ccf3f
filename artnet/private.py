"""What looks like a secret, and is kept out of what others may read: by a file's name, and by a line's text."""

import re
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

FILES = (
    ".env", ".env.*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.ppk", "*.jks", "*.kdbx", "*.keytab",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", "_netrc", ".pypirc", ".npmrc", ".pgpass", ".htpasswd",
    ".git-credentials", ".ssh", ".aws", ".gnupg", ".kube", ".docker",
)  # fmt: skip
CODE = (".py", ".pyi", ".md", ".rst")  # files of these kinds may be about credentials

_LINE = re.compile(
    r"\b(gh[a-z]_|github_pat_|glpat-|hf_|sk-|xox[a-z]-)[A-Za-z0-9_-]{10,}|\b(AKIA|ASIA)[A-Z0-9]{12,}"
    r"|\bAIza[A-Za-z0-9_-]{30,}|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\."
    r"|://[^/\s:@]*:[^/\s@]{3,}@"
    # A name and a value of one word: an expression such as `token = read(file)` is no secret.
    r"""|(?i:passw(or)?d|passphrase|token|secret|api_?key|access_?key|private_?key|credentials?)[A-Za-z0-9_]*["']?"""
    r"""\s*(:=|[:=])\s*(["'][^"'\s]{8,}["']|[A-Za-z0-9+/_~.!@#$%^&*-]{8,}={0,2}\s*($|[,;}#]))"""
)
_BEGIN, _END = (re.compile(f"-----{word} [A-Z0-9 ]*PRIVATE KEY") for word in ("BEGIN", "END"))
LEFT_OUT = "[left out: it looks like a secret]"


def is_private(name: str) -> bool:
    """Whether a file of this name, relative to a tree, holds keys or passwords by the habits of common tools."""
    parts = PurePosixPath(name.lower()).parts
    by_name = any(fnmatchcase(part, pattern) for part in parts for pattern in FILES)
    return by_name or ("credential" in parts[-1] and not parts[-1].endswith(CODE))


def without_secrets(diff: str) -> str:
    """The text of a `git diff` with a note in place of each line, key and file that looks like a secret."""
    kept, in_key, in_file = [], False, False
    for line in diff.splitlines():
        if line.startswith("diff --git "):
            in_key, in_file = False, any(map(is_private, _names(line)))
            kept += [line, LEFT_OUT] if in_file else [line]
            continue
        in_key = in_key or bool(_BEGIN.search(line))
        if in_file:
            continue
        kept.append(line[:1].strip("@") + LEFT_OUT if in_key or _LINE.search(line) else line)
        in_key = in_key and not _END.search(line)
    return "".join(f"{line}\n" for line in kept)


def _names(line: str) -> list[str]:
    """The names of a line `diff --git a/NAME b/NAME`, which git quotes if they hold special characters."""
    return [part.strip('" ') for part in re.split(r'"?\b[ab]/', line.removeprefix("diff --git "))[1:]]
