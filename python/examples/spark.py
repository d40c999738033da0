"""A folder of images, or Parquet with a column of image bytes, through Spark to Parquet.

    spark-submit spark.py photos/ features/ --model /models/clip-vit-large-patch14 --layer -2 --tokens patch

Each image becomes a row of its path, its features (flat, with their shape) and the reason why it has none. Spark runs a failed
task again; a broken image fails none.
"""

import argparse
import os
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import SparkSession

# A row of features is a megabyte: a batch of Arrow's default of 10,000 rows would fill a worker's memory.
ROWS = 16
SCHEMA = "path string, features array<float>, shape array<int>, error string"
KINDS = {"features": pa.list_(pa.float32()), "shape": pa.list_(pa.int32()), "error": pa.string()}

_extractors: dict = {}


def features(batches: Iterator[pa.RecordBatch], column: str, arguments: dict) -> Iterator[pa.RecordBatch]:
    from clip_features import Extractor
    from clip_features.adapter import as_rows

    # A worker's process does many tasks: one model for all of them.
    key = repr(arguments)
    if key not in _extractors:
        _extractors[key] = Extractor(**arguments, column=column)
    extractor = _extractors[key]
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS):
            rows = batch.slice(start, ROWS)
            found = extractor({column: rows.column(column).to_pylist(), "path": rows.column("path").to_pylist()})
            arrays = [pa.array([row[name] for row in as_rows(found)], kind) for name, kind in KINDS.items()]
            yield pa.RecordBatch.from_arrays([pa.array(found["path"], pa.string()), *arrays], names=["path", *KINDS])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", help="a folder of images, or Parquet with the columns path and --column")
    parser.add_argument("output", help="a folder for Parquet")
    parser.add_argument("--model")
    parser.add_argument("--random-weights", type=int)
    parser.add_argument("--layer", type=int)
    parser.add_argument("--tokens")
    parser.add_argument("--column", default="content")
    parser.add_argument("--threads", type=int, default=1, help="of each task; Spark runs one task a core")
    args = parser.parse_args()
    names = ("model", "random_weights", "layer", "tokens", "threads")
    arguments, column = {name: getattr(args, name) for name in names}, args.column

    spark = (
        SparkSession.builder.appName("clip-features")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", ROWS)
        .getOrCreate()
    )
    is_parquet = args.input.endswith(".parquet") or any(name.endswith(".parquet") for name in os.listdir(args.input))
    images = spark.read.parquet(args.input) if is_parquet else spark.read.format("binaryFile").load(args.input)
    images = images.select("path", column).repartition(2 * spark.sparkContext.defaultParallelism)
    images.mapInArrow(lambda batches: features(batches, column, arguments), SCHEMA).write.mode("overwrite").parquet(args.output)
    written = spark.read.parquet(args.output)
    failed = written.where("error is not null")
    for row in failed.select("path", "error").collect():
        print("failed:", row.path, row.error)
    print(f"{written.count() - failed.count()} rows with features, {failed.count()} failed, in {args.output}")
    spark.stop()


if __name__ == "__main__":
    main()
