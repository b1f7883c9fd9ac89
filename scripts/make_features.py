#!/usr/bin/python3
"""Makes tests/golden/regressor_features: a small feature folder for the models of
tests/golden/regressor (7 features, windows of 9 frames).

  scripts/make_features.py          writes tests/golden/regressor_features
  scripts/make_features.py --check  makes it again in memory and compares with the stored files
"""

import io
import json
import pathlib
import sys
import zipfile

try:
    import numpy as np
except ImportError:
    sys.exit("make_features: expected numpy; run it as /usr/bin/python3 after apt install python3-numpy")

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "regressor_features"
FRAMES, FEATURES, WINDOW = 40, 7, 9
FRAMES_A_SECOND = 100.0
# name -> role, key of its windows, type of its frames, distance between windows.
SEQUENCES = {
    "Grid1": ("train", "indices_train", "<f2", 1),
    "Grid2": ("eval", "indices_eval", "<f4", 2),
    "Grid3": ("eval", "indices_eval", "<f2", 4),
    "Grid4": ("test", "indices", "<f2", 2),
}


def walk(rng, columns, step):
    """A random walk, smoothed over five frames."""
    steps = step * rng.standard_normal((FRAMES + 4, columns))
    path = np.cumsum(steps, axis=0)
    return (path[:-4] + path[1:-3] + path[2:-2] + path[3:-1] + path[4:]) / 5


def round_trip(rng):
    """Positions in metres, once around the origin and a little astray: every sequence covers the
    same ground, so that ranges seen in one hold for the others."""
    angle = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(FRAMES) / FRAMES
    return 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + walk(rng, 2, 0.03)


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz(arrays):
    """As np.savez, with fixed dates."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), npy(array))
    return out.getvalue()


def statistics(frames, ends):
    """Over the frames of all windows, those in two windows twice; of unrounded frames."""
    seen = np.concatenate([frames[t - WINDOW:t] for t in ends])
    return {"feat_mean": seen.mean(axis=0).astype("<f4"), "feat_std": seen.std(axis=0).astype("<f4"),
            "count": np.array(len(seen)), "Din": np.array(FEATURES),
            "std_floor": np.array(1e-3, "<f4"), "note": np.array("made by make_features.py")}


def files():
    """name in the folder -> bytes."""
    rng = np.random.default_rng(20261121)
    # Features at scales of their own that follow the position; the last never changes.
    mix = rng.standard_normal((2, FEATURES)) * np.array([1, 2, 0.5, 1, 3, 0.25, 0])
    offset = np.append(rng.uniform(-2, 2, FEATURES - 1), 0.5)
    out = {}
    for name, (role, key, dtype, stride) in SEQUENCES.items():
        positions = round_trip(rng)
        frames = offset + positions @ mix + walk(rng, FEATURES, 0.05) * (mix[0] != 0)
        ends = list(range(WINDOW + 1, FRAMES, stride))
        index = {"input_dim": FEATURES, "role": role, "length": FRAMES, "win_len": WINDOW,
                 "stride": stride, "dtype": np.dtype(dtype).name, key: ends}
        out[f"json/{name}.json"] = (json.dumps(index) + "\n").encode()
        out[f"npy/{name}.feats.npy"] = npy(frames.astype(dtype))
        out[f"npy/{name}.xy.npy"] = npy(positions.astype("<f4"))
        out[f"npy/{name}.ts.npy"] = npy(np.arange(FRAMES) / FRAMES_A_SECOND)
        if role == "train":
            out["npy/stats_train.npz"] = npz(statistics(frames, ends))
    return out


def same(stored, made, name):
    """Whether the bytes are equal or, since machines sum in different orders, arrays are nearly."""
    if stored == made or not name.endswith((".npy", ".npz")):
        return stored == made

    def arrays(content):
        read = np.load(io.BytesIO(content))
        return dict(read) if name.endswith(".npz") else {"": read}

    one, other = arrays(stored), arrays(made)
    # One rounding to float16 apart at worst.
    return one.keys() == other.keys() and all(
        array.dtype == other[key].dtype and array.shape == other[key].shape
        and (array.dtype.kind == "U" or np.allclose(array, other[key], rtol=1e-3, atol=1e-6))
        for key, array in one.items())


def check():
    made = files()
    stored = {path.relative_to(GOLDEN).as_posix(): path.read_bytes()
              for path in GOLDEN.rglob("*") if path.is_file()}
    wrong = sorted(stored.keys() ^ made.keys())
    wrong += [name for name in stored.keys() & made.keys() if not same(stored[name], made[name], name)]
    total = sum(map(len, stored.values()))
    print(f"make_features: {len(SEQUENCES)} sequences, {len(stored)} files, {total} bytes in all"
          + "".join(f"\n  differs: {name}" for name in wrong))
    return 0 if not wrong and total < 60_000 else 1


def make():
    for name, content in files().items():
        path = GOLDEN / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    if not sys.argv[1:]:
        make()
    sys.exit(check())
