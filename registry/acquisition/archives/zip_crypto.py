"""The two encryptions of zip archives: PKWARE's old one, and WinZip's AES."""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from medshard.registry.acquisition.archives.faults import Origin, encrypted_otherwise, password_needed
from medshard.registry.acquisition.archives.inflating import BadDataError

AES_METHOD = 99
HEADER_BYTES = 12
TAG_BYTES = 10
VERIFIER_BYTES = 2
ROUNDS = 1000

Read = Callable[[int], bytes]


@dataclass(frozen=True)
class Aes:
    """version: 1 keeps the checksum of the plain bytes, 2 does not. strength: 1, 2, 3. method: of compression."""

    version: int
    strength: int
    method: int

    @property
    def key_bytes(self) -> int:
        return 8 + 8 * self.strength

    @property
    def salt_bytes(self) -> int:
        return self.key_bytes // 2


def aes_of(extra: bytes) -> Aes:
    """The extra field 0x9901. Raises BadDataError."""
    if len(extra) < 7:
        raise BadDataError("the field that describes its encryption is missing")
    version, _, strength, method = struct.unpack_from("<H2sBH", extra)
    if version not in {1, 2} or strength not in {1, 2, 3}:
        raise BadDataError(f"AES of version {version} and strength {strength}")
    return Aes(version, strength, method)


def unlock_aes(read: Read, aes: Aes, password: bytes, *, packed: int, origin: Origin, member: str) -> Read:
    """The plain bytes. The tag at the end is compared when they have all been read.

    Raises AcquisitionError: archive.password, archive.encryption without the package pycryptodomex; BadDataError.
    """
    try:
        from Cryptodome.Cipher import AES  # noqa: PLC0415 - comes with the extra
        from Cryptodome.Util import Counter  # noqa: PLC0415
    except ImportError as error:
        raise encrypted_otherwise(origin, "AES, for which the package pycryptodomex is missing") from error
    salt, verifier = read(aes.salt_bytes), read(VERIFIER_BYTES)
    material = hashlib.pbkdf2_hmac("sha1", password, salt, ROUNDS, 2 * aes.key_bytes + VERIFIER_BYTES)
    if not hmac.compare_digest(material[-VERIFIER_BYTES:], verifier):
        raise password_needed(origin, member=member, given=True)
    cipher = AES.new(
        material[: aes.key_bytes], AES.MODE_CTR, counter=Counter.new(128, little_endian=True, initial_value=1)
    )
    seal = hmac.new(material[aes.key_bytes : 2 * aes.key_bytes], digestmod="sha1")
    left = packed - aes.salt_bytes - VERIFIER_BYTES - TAG_BYTES
    return _Sealed(read, cipher, seal, left).read


class _Sealed:
    """Decrypts, and compares the tag at the end."""

    def __init__(self, read: Read, cipher: Any, seal: hmac.HMAC, left: int) -> None:
        if left < 0:
            raise BadDataError("it is too short to be encrypted")
        self._read = read
        self._cipher = cipher
        self._seal = seal
        self._left = left
        self._done = False

    def read(self, size: int) -> bytes:
        block = self._read(min(size, self._left))
        self._left -= len(block)
        self._seal.update(block)
        if not self._done and (self._left == 0 or not block):
            self._done = True
            if not hmac.compare_digest(self._seal.digest()[:TAG_BYTES], self._read(TAG_BYTES)):
                raise BadDataError("its authentication tag does not fit")
        plain: bytes = self._cipher.decrypt(block)
        return plain


def classic(read: Read, password: bytes, *, check: int) -> Read | None:
    """The plain bytes of PKWARE's old encryption; None when the password is wrong (noticed 255 times in 256).

    It works byte by byte in Python, at a few MB/s.
    """
    keys = _Keys(password)
    header = keys.decrypt(read(HEADER_BYTES))
    if len(header) < HEADER_BYTES:
        raise BadDataError("it is too short to be encrypted")
    if header[-1] != check & 0xFF:
        return None
    return lambda size: keys.decrypt(read(size))


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ 0xEDB88320 if value & 1 else value >> 1
        table.append(value)
    return tuple(table)


_CRC = _crc_table()


class _Keys:
    """The three keys, which change with every plain byte."""

    def __init__(self, password: bytes) -> None:
        self._keys = (0x12345678, 0x23456789, 0x34567890)
        for byte in password:
            self._keys = _next_keys(*self._keys, byte)

    def decrypt(self, data: bytes) -> bytes:
        first, second, third = self._keys
        table = _CRC
        plain = bytearray(len(data))
        for index, cipher in enumerate(data):
            mixed = third | 2
            byte = cipher ^ (((mixed * (mixed ^ 1)) >> 8) & 0xFF)
            plain[index] = byte
            first = (first >> 8) ^ table[(first ^ byte) & 0xFF]
            second = ((second + (first & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
            third = (third >> 8) ^ table[(third ^ (second >> 24)) & 0xFF]
        self._keys = (first, second, third)
        return bytes(plain)


def _next_keys(first: int, second: int, third: int, byte: int) -> tuple[int, int, int]:
    first = (first >> 8) ^ _CRC[(first ^ byte) & 0xFF]
    second = ((second + (first & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
    return first, second, (third >> 8) ^ _CRC[(third ^ (second >> 24)) & 0xFF]
