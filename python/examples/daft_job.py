"""A folder of images, or Parquet with a column of image bytes, through Daft to Parquet.

    python daft_job.py photos/ features/ --model /models/clip-vit-large-patch14 --layer -2 --tokens patch

Each image becomes a row of its path, its features (flat, with their shape) and the reason why it has none.
"""

import argparse
import os

import daft
from daft import DataType

from clip_features import Extractor
from clip_features.adapter import as_rows

RESULT = DataType.struct(
    {
        "features": DataType.list(DataType.float32()),
        "shape": DataType.list(DataType.int32()),
        "error": DataType.string(),
    }
)


@daft.cls
class Features:
    """One extractor in each worker."""

    def __init__(self, arguments: dict) -> None:
        self.extractor = Extractor(**arguments)

    @daft.method.batch(return_dtype=RESULT, unnest=True, batch_size=16)
    def of(self, images: daft.Series) -> list:
        return as_rows(self.extractor({"bytes": images.to_pylist()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", help="a folder of images, or Parquet with the columns path and --column")
    parser.add_argument("output", help="a folder for Parquet")
    parser.add_argument("--model")
    parser.add_argument("--random-weights", type=int)
    parser.add_argument("--layer", type=int)
    parser.add_argument("--tokens")
    parser.add_argument("--column", default="bytes")
    parser.add_argument("--threads", type=int, help="of each worker")
    args = parser.parse_args()
    names = ("model", "random_weights", "layer", "tokens", "threads")

    if args.input.endswith(".parquet") or any(name.endswith(".parquet") for name in os.listdir(args.input)):
        images = daft.read_parquet(args.input)
    else:
        images = daft.from_glob_path(os.path.join(args.input, "**"))
        images = images.select("path", daft.col("path").download().alias(args.column))
    features = Features({name: getattr(args, name) for name in names})
    images.select("path", features.of(images[args.column])).write_parquet(args.output, write_mode="overwrite")
    written = daft.read_parquet(args.output)
    failed = written.where(written["error"].not_null()).select("path", "error").to_pylist()
    for row in failed:
        print("failed:", row["path"], row["error"])
    print(f"{written.count_rows() - len(failed)} rows with features, {len(failed)} failed, in {args.output}")


if __name__ == "__main__":
    main()
