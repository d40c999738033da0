/* What shim.c and huffman.c have in common. */

#include "jpeglib.h"

struct pillow_exact_huffman;

/* Blocks of one component that lie side by side in the picture: block `i` is `(i / across) * mcu + i % across` blocks
 * behind the first; the same as in runs.rs. */
struct pillow_exact_run {
  const JBLOCK *blocks;
  /* Of each block, the last place in zigzag order that is not 0, at most 63. */
  const unsigned char *last;
  unsigned int across;
  unsigned int mcu;
  unsigned int count;
  /* The first block's column in the picture, in blocks. */
  unsigned int column;
  jpeg_component_info *component;
  /* Eight rows of samples, from the picture's left edge. */
  JSAMPROW *rows;
};

/* What `client_data` points to; the same as in shared.rs. */
struct pillow_exact_shared {
  void *way_out;
  int (*next_block)(j_decompress_ptr);
  int (*skip)(j_decompress_ptr, long);
  void (*inverse_dct)(j_decompress_ptr, const struct pillow_exact_run *);
  struct pillow_exact_huffman *huffman;
  int by_tables;
  /* Whether the CPU has BMI2. */
  int has_bmi2;
};

/* Has the coefficients decoded by tables. The decompressor is started. */
void pillow_exact_start_huffman(j_decompress_ptr cinfo);
