"""The wandb server that this environment names, the key for it, and whether it answers."""

from __future__ import annotations

import netrc
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from anlp.core.errors import UserError

PROBE_S = 3.0

DEFAULT_URL = "https://api.forge.coreweave.com"  # of wandb 0.31, where it is not asked itself

# wandb.ai got a new host with wandb 0.31; a key that netrc has for either works for both
_PUBLIC_HOSTS = ("api.forge.coreweave.com", "api.wandb.ai")


@dataclass(frozen=True, slots=True)
class Site:
    """A wandb server; no text about it shows the key."""

    url: str
    key: str | None = field(repr=False)

    @property
    def host(self) -> str:
        """Host and port, as netrc names a machine."""
        return urlsplit(self.url).netloc

    def require(self) -> None:
        """Check once whether the server can be used from here.

        Raises:
            UserError: there is no key for it, or it does not answer.
        """
        if self.key is None:
            raise UserError(
                f"no key for {self.host} in WANDB_API_KEY or netrc; get one with: wandb login"
            )
        if not is_answering(self.url):
            raise UserError(f"no answer from {self.url}; run this where the server can be reached")


def find_site(default_url: str) -> Site:
    """Return the server that wandb would use here, and the key for it if there is one.

    Args:
        default_url: the server of the wandb that is installed, for where WANDB_BASE_URL names none.
    """
    url = os.environ.get("WANDB_BASE_URL") or default_url
    return Site(url, os.environ.get("WANDB_API_KEY") or _netrc_key(urlsplit(url).netloc))


def is_answering(url: str, timeout_s: float = PROBE_S) -> bool:
    """Tell whether a server answers at `url`, through the proxies of the environment.

    An error counts as an answer.

    `wandb.init` asks an unreachable server again and again for 12 s and more; this looks once.
    """
    # imported here: a run without a key does not ask
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the user's own server
    try:
        with urllib.request.urlopen(request, timeout=timeout_s):  # noqa: S310 - as above
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        # wandb has its own way with certificates: let it decide
        return "CERTIFICATE" in str(error.reason).upper()
    except (OSError, ValueError):
        return False


def _netrc_key(host: str) -> str | None:
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        machines = netrc.netrc(path)
    except (OSError, netrc.NetrcParseError):
        return None
    names = _PUBLIC_HOSTS if host in _PUBLIC_HOSTS else (host,)
    found = [machines.hosts[name][2] for name in names if name in machines.hosts]
    return found[0] if found else None
