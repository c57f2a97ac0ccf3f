"""URLs of shards: which kinds are read, and what they must not hold."""

import re
from urllib.parse import unquote

from .errors import UserError

SCHEMES = ("https", "http", "s3", "gs", "file")
_AUTHORITY = re.compile(r"[^/?#]*")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:@\[\]]*)(:\d+)?")  # with a port, but no user


def check_url(url: str) -> None:
    """Raise `UserError` unless `url` is of a kind that is read and holds no secret. The message repeats no secret.

    A URL is written into every run. Other kinds of fsspec are refused, also in chains (`::`): `reference://` runs
    templates from the file it names.
    """
    scheme, _, rest = url.partition("://")
    authority = unquote(_AUTHORITY.match(rest)[0])  # type: ignore[index]  # it matches any text
    has_host = bool(_HOST.fullmatch(authority)) if scheme.lower() in ("http", "https") else ":" not in authority
    if not has_host or "@" in authority or re.search("[?#]", rest) or re.search(r"://[^/]*:[^/]*@", url):
        shown = re.split("[?#]", rest)[0].rpartition("@")[2] if "@" in rest or has_host else "this data set"
        raise UserError(
            f"the URL of {shown} holds a password or a query, which would be written into every run; "
            "give the URL without it, and the password in ~/.netrc or in the settings of the storage's own tools"
        )
    if scheme.lower() not in SCHEMES or "::" in rest.removeprefix(authority):
        raise UserError(f"{url} cannot be read; give a folder, or a URL that begins with {'://, '.join(SCHEMES)}://")
