"""URLs that try to make the platform talk to its own insides, and the names that their hosts resolve to.

`{port}` is where the counting listener waits, on every address of the loopback network and on `::1`. Sources:
the corpus "Server Side Request Forgery" of PayloadsAllTheThings, the parser cases of Orange Tsai, the special
registries of IANA.
"""

from __future__ import annotations

import itertools
import socket
from dataclasses import dataclass, field
from typing import Any

_LOOPBACK = (
    "127.0.0.1", "127.0.0.2", "127.1.2.3", "127.255.255.254", "127.127.127.127", "127.0.1.3",
    "127.1", "127.0.1", "127.0.0.01", "127.00.0.1",
    "2130706433", "0x7f000001", "0x7F000001", "017700000001", "0x7f.1", "0x7f.0x0.0x0.0x1", "0177.0.0.1",
    "0177.0.0.01", "0177.1", "0x7f.0.0.1", "127.0x1", "127.0.0.0x1", "0x7f.0.0x0.1", "0177.0x0.0.1",
    "0.0.0.0", "0", "0x0", "00000", "0.0", "0x00000000",
    "[::1]", "[0:0:0:0:0:0:0:1]", "[0000::1]", "[::0001]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::FFFF:127.0.0.1]", "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::ffff:127.1.2.3]", "[::ffff:0.0.0.0]",
    "localhost", "LOCALHOST", "localhost.", "LocalHost.",
)  # fmt: skip
_NAMED = (
    "loop.attacker.example", "loop2.attacker.example", "zero.attacker.example", "mapped.attacker.example",
    "six.attacker.example", "split.attacker.example", "split6.attacker.example", "cname.attacker.example",
    "127.0.0.1.nip.attacker.example", "LOOP.attacker.example", "loop.attacker.example.",
    "rebind.attacker.example", "rebind6.attacker.example", "rebind-often.attacker.example",
)  # fmt: skip
_ELSEWHERE = (
    # Metadata services, and what private networks, translators and IANA's registries hold back.
    "169.254.169.254", "[::ffff:169.254.169.254]", "0xa9fea9fe", "2852039166", "[fd00:ec2::254]",
    "100.100.100.200", "168.63.129.16", "192.0.0.192", "metadata.attacker.example", "[fe80::a9fe:a9fe]",
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "192.0.2.1",
    "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "[fc00::1]", "[fd12:3456::1]", "[fec0::1]", "[ff02::1]",
    "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::1]", "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]", "[2001:0:7f00:1::]", "[2001:db8::1]", "nat64.attacker.example",
    "cgnat.attacker.example",
)  # fmt: skip
_WRITTEN_ODDLY = (
    "http://user@127.0.0.1:{port}/", "http://user:secret@127.0.0.1:{port}/", "http://a.example@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@a.example/", "http://127.0.0.1:{port}?@a.example/",
    "http://127.0.0.1:{port}\\@a.example/", "http://a.example:80@127.0.0.1:{port}/", "http://127.0.0.1:0{port}/",
    "HTTP://127.0.0.1:{port}/", "hTtP://127.0.0.1:{port}/", "http://127.0.0.1:{port}/../..", " http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/a b", "http://①②⑦.⓪.⓪.①:{port}/", "http://127。0。0。1:{port}/",
    "http://ⓛocalhost:{port}/", "http://127.0.0.1:{port}/\r\nX-Evil: 1", "http://127.0.0.1:{port}/%0d%0aX: 1",
    "http://127.0.0.1\t:{port}/", "http://loc\talhost:{port}/", "http:/127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "//127.0.0.1:{port}/", "file:///etc/passwd", "gopher://127.0.0.1:{port}/_x", "dict://127.0.0.1:{port}/",
    "ftp://127.0.0.1:{port}/", "http://[::1%25lo]:{port}/", "http://[::1", "http://", "http://127.0.0.1:99999/",
)  # fmt: skip
_REDIRECTS = (
    "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://[::1]:{port}/", "http://2130706433:{port}/",
    "http://loop.attacker.example:{port}/", "//127.0.0.1:{port}/",
)  # fmt: skip

MOVED = (
    "301 Moved Permanently",
    "302 Found",
    "303 See Other",
    "307 Temporary Redirect",
    "308 Permanent Redirect",
)


def direct_urls() -> list[str]:
    """Everything that needs no other host."""
    hosts = [f"http://{host}:{{port}}/" for host in (*_LOOPBACK, *_NAMED, *_ELSEWHERE)]
    encrypted = [f"https://{host}:{{port}}/" for host in (*_LOOPBACK[:6], *_NAMED[:6])]
    return [*hosts, *encrypted, *_WRITTEN_ODDLY]


def redirects() -> list[tuple[str, str]]:
    """Status line and target of redirects that an allowed receiver answers with."""
    return list(itertools.product(MOVED, _REDIRECTS))


@dataclass
class HostileNames:
    """The attacker's name server: some names answer otherwise when they are asked again."""

    house: str
    asked: dict[str, int] = field(default_factory=dict)

    def getaddrinfo(self, host: str | bytes, port: int, *rest: Any, **options: Any) -> Any:
        """Answer for `attacker.example`; everything else is left to the system, without its network."""
        name = (host.decode() if isinstance(host, bytes) else host).lower().rstrip(".")
        if not name.endswith("attacker.example"):
            return _system_getaddrinfo(host, port, *rest, **options)
        self.asked[name] = self.asked.get(name, 0) + 1
        return [
            answer
            for address in self._addresses(name.removesuffix(".attacker.example"), self.asked[name])
            for answer in _system_getaddrinfo(address, port, type=socket.SOCK_STREAM)
        ]

    def _addresses(self, label: str, times: int) -> tuple[str, ...]:
        if label.startswith("rebind"):
            # The first answer is one that the deployment allows; what comes later is the trap.
            trap = "::1" if label == "rebind6" else "127.0.0.1"
            return (self.house,) if times == 1 else (trap,)
        return {
            "loop2": ("127.8.8.8",),
            "zero": ("0.0.0.0",),
            "mapped": ("::ffff:127.0.0.1",),
            "six": ("::1",),
            "split": (self.house, "127.0.0.1"),
            "split6": ("127.0.0.1", self.house),
            "metadata": ("169.254.169.254",),
            "nat64": ("64:ff9b::7f00:1",),
            "cgnat": ("100.64.0.1",),
        }.get(label, ("127.0.0.1",))


_system_getaddrinfo = socket.getaddrinfo
