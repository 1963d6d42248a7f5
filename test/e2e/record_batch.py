"""An independent encoder of Kafka's RecordBatch v2, for good and bad batches."""

_TABLE = []
NOW_MS = 1700000000000


def crc32c(data):
    if not _TABLE:
        for i in range(256):
            c = i
            for _ in range(8):
                c = (c >> 1) ^ (0x82F63B78 if c & 1 else 0)
            _TABLE.append(c)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def varint(n):
    n = (n << 1) ^ (n >> 63)
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def make_record(value, delta=0, size=None, headers=varint(0)):
    body = b"\x00" + varint(0) + varint(delta) + varint(-1) + varint(len(value)) + value + headers
    return (varint(len(body)) if size is None else size) + body


def make_batch(values, attributes=0, count=None, records=None, last_delta=None,
               timestamp_ms=NOW_MS, producer=(-1, -1, -1)):
    """`records`: the encoded records, or one compressed block; `producer`: id,
    epoch, first sequence."""
    if records is None:
        records = b"".join(make_record(v, i) for i, v in enumerate(values))
    n = len(values) if count is None else count
    last = n - 1 if last_delta is None else last_delta

    def number(value, width):
        return value.to_bytes(width, "big", signed=True)
    pid, epoch, sequence = producer
    tail = (attributes.to_bytes(2, "big") + number(last, 4) + number(timestamp_ms, 8) * 2 +
            number(pid, 8) + number(epoch, 2) + number(sequence, 4) + number(n, 4) + records)
    head = b"\x00" * 4 + b"\x02" + crc32c(tail).to_bytes(4, "big")
    return b"\x00" * 8 + (len(head) + len(tail)).to_bytes(4, "big") + head + tail
