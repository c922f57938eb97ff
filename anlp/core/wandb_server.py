"""Which wandb server this environment speaks to, with which key, and whether anybody answers there; asks nobody."""

from __future__ import annotations

import netrc
import os
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from anlp.core.errors import UserError

PROBE_S = 3.0

# wandb.ai moved house with wandb 0.31: a key that netrc holds under either name is good for the
# public server
_PUBLIC_HOSTS = ("api.forge.coreweave.com", "api.wandb.ai")


@dataclass(frozen=True, slots=True)
class Site:
    """A wandb server; the key stays out of every text about it."""

    url: str
    key: str | None = field(repr=False)

    @property
    def host(self) -> str:
        """Host and port, as netrc names a machine."""
        return urlsplit(self.url).netloc

    def require(self) -> None:
        """Looks once whether the server can be used from here.

        Raises:
            UserError: there is no key for it, or nobody answers.
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
    """Tell whether anything answers at `url`, by the proxies of the environment, be it with an error.

    `wandb.init` asks an unreachable server again and again for 12 s and more; this looks once.
    """
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the person's own server, never a value of a grid
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
