/* What shim.c and huffman.c have in common. */

#include "jpeglib.h"

struct pillow_exact_huffman;

/* Where a decompressor's is. */
struct pillow_exact_huffman **pillow_exact_huffman_of(j_decompress_ptr cinfo);

/* Has the coefficients decoded by tables. The decompressor is started. */
void pillow_exact_start_huffman(j_decompress_ptr cinfo);
