"""Small pictures of every kind, as files and as the bytes that a decoder must find; integers alone,
and no compression, so that they are the same on any machine."""

import struct
import zlib

import numpy as np


def scene(width, height, numbers):
    """(height, width, 3): slopes that rise and fall, some noise, and a black and a white rectangle,
    whose edges a cubic overshoots."""
    x, y = np.arange(width)[None, :], np.arange(height)[:, None]
    out = np.empty((height, width, 3), np.int64)
    for channel, (across, down) in enumerate([(5, 3), (-2, 7), (4, -6)]):
        out[:, :, channel] = abs((50 * channel + across * x + down * y) % 480 - 240)
    out += numbers.integers(31, height, width, 3) - 15
    out[height // 8:height // 3, width // 2:3 * width // 4] = 255
    out[height // 2:3 * height // 4, width // 8:width // 2] = 0
    return np.clip(out, 0, 255).astype(np.uint8)


def stored_stream(raw):
    """A zlib stream of uncompressed blocks."""
    out = b"\x78\x01"
    for begin in range(0, len(raw), 65535):
        part = raw[begin:begin + 65535]
        last = begin + 65535 >= len(raw)
        out += struct.pack("<BHH", last, len(part), len(part) ^ 0xFFFF) + part
    return out + struct.pack(">I", zlib.adler32(raw))


def png(samples, colour_type, extra=()):
    """samples: (height, width, channels); rows filtered in turn by nothing, left and above."""
    height, width, channels = samples.shape
    rows, above = [], np.zeros(width * channels, np.int64)
    for y, row in enumerate(samples.reshape(height, -1).astype(np.int64)):
        left = np.concatenate([np.zeros(channels, np.int64), row[:-channels]])
        predicted = (0 * row, left, above)[y % 3]
        rows.append(bytes([y % 3]) + ((row - predicted) % 256).astype(np.uint8).tobytes())
        above = row
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)), *extra,
              (b"IDAT", stored_stream(b"".join(rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content
        + struct.pack(">I", zlib.crc32(kind + content)) for kind, content in chunks)


def bmp(picture):
    """24 bits, from the bottom up, rows padded to four bytes."""
    height, width, _ = picture.shape
    padding = bytes(-3 * width % 4)
    rows = b"".join(row.tobytes() + padding for row in picture[::-1, :, ::-1])
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 2835, 2835, 0, 0)
    return struct.pack("<2sIHHI", b"BM", 54 + len(rows), 0, 0, 54) + header + rows


def pictures(numbers):
    """name -> the file's bytes and the picture, None for the broken one."""
    wide, tall = scene(97, 48, numbers), scene(41, 83, numbers)
    grey = scene(53, 56, numbers)[:, :, :1]
    palette = numbers.integers(256, 64, 3).astype(np.uint8)
    places = (scene(30, 31, numbers)[:, :, 1:2] // 4).astype(np.uint8)
    true = scene(75, 60, numbers)
    alpha = numbers.integers(256, 83, 41, 1).astype(np.uint8)
    colours = [(b"PLTE", palette.tobytes()), (b"tRNS", bytes([0, 128, 255]))]
    whole = png(wide, 2)
    return {
        "1_wide.png": (whole, wide),
        "2_tall_alpha.png": (png(np.concatenate([tall, alpha], axis=2), 6), tall),
        "3_grey.png": (png(grey, 0), np.repeat(grey, 3, axis=2)),
        "4_palette.png": (png(places, 3, colours), palette[places[:, :, 0]]),
        "5_true.bmp": (bmp(true), true),
        "6_broken.png": (whole[:2 * len(whole) // 3], None),
    }
