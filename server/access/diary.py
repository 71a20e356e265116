"""What a failed handshake means, in plain words for an administrator.

A client that cannot agree with us says so in its own tongue, if at all; the trail has
what it offered, and here is what to do about it.
"""

from typing import Final

from server.model.algorithms import LINE_ONLY, Profile
from server.model.event import Json

_GROUP1: Final = "diffie-hellman-group1-sha1"
_KINDS: Final = {
    "kex": "key exchange",
    "hostkey": "host key",
    "cipher": "cipher",
    "mac": "MAC",
}
_HINTS: Final = {
    "no_banner": "The client connected and said nothing: a port check, or a firewall "
    "in between. Nothing to do unless it is one of your devices.",
    "bad_banner": "What came is no SSH: another protocol was pointed at the SFTP port.",
    "left_in_handshake": "The client left before the handshake was over. If it is one "
    "of yours, it may know another host key of this server: compare with `kagikura "
    "status` and let it forget the old one.",
    "no_tls": "What came is no TLS: the address must begin with https://.",
    "tls_too_old": "The client knows no TLS 1.2. Update it, or let it use SFTP.",
    "no_certificate": "The client showed no certificate. Import the device's .p12 into "
    "it (`kagikura device add LOGIN NAME --issue-certificate OUT.p12`), or use a "
    "device secret at [webdav.secret].",
    "unknown_certificate": "The client's certificate is of nobody we know. Register it "
    "(`kagikura device add LOGIN NAME --certificate FILE`) or its authority "
    "(`kagikura device ca add CONTRACT NAME --certificate FILE`).",
    "expired_certificate": "The client's certificate has expired: issue a new one.",
    "server_not_trusted": "The client does not trust this server's certificate. Give "
    "it the authority's: `kagikura ca`.",
}


def hint(rule: str, detail: dict[str, Json], profile: Profile) -> str:
    """What to do about a handshake that failed by `rule`; empty: nothing is known.

    Args:
        rule: As in the trail.
        detail: With `offer` and `missing`, lists of algorithms and of kinds.
        profile: What the line was offered.
    """
    if rule != "no_common_algorithm":
        return _HINTS.get(rule, "")
    offer, missing = detail.get("offer"), detail.get("missing")
    if not isinstance(offer, dict) or not isinstance(missing, list):
        return ""
    kinds = ", ".join(_KINDS.get(str(kind), str(kind)) for kind in missing)
    wanted = [_names(offer.get(str(kind))) for kind in missing]
    if not wanted or not all(names & LINE_ONLY for names in wanted):
        return (
            f"The client's lists have no {kinds} that this server knows. Look for "
            "newer firmware, or for an algorithm that can be switched on there."
        )
    small = any(names & LINE_ONLY == {_GROUP1} for names in wanted)
    word = Profile.LEGACY_GROUP1 if small else Profile.LEGACY
    if profile is Profile.LEGACY_GROUP1 or profile is word:
        return f"The client has no {kinds} that even an old line offers."
    return (
        f"The client has only old algorithms ({kinds}). Open its line, and only that, "
        f"for a time: kagikura line change CONTRACT LINE --crypto {word}-until:DATE"
    )


def _names(names: Json) -> set[str]:
    return set(map(str, names)) if isinstance(names, list) else set()
