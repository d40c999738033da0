/* The calls of libjpeg that may fail. A failure leaves libjpeg by longjmp from a callback that is C, to a function
 * that is C, so that no frame of Rust is passed over, and nothing unwinds: it works with panic=abort too. */

#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include "huffman.h"

/* macOS's setjmp keeps the signal mask, which takes two system calls. */
#ifdef __APPLE__
#define setjmp _setjmp
#define longjmp _longjmp
#endif

/* What a call ends with; the same as in session.rs. */
enum { DONE, BROKEN, TRUNCATED };

enum step { CREATE, HEADER, START, SCANLINES, RAW, FINISH };

static void leave(j_common_ptr cinfo, int reason)
{
  longjmp(*(jmp_buf *)((struct pillow_exact_shared *)cinfo->client_data)->way_out, reason);
}

static void error_exit(j_common_ptr cinfo)
{
  leave(cinfo, BROKEN);
}

/* libjpeg counts its warnings, as it does in Pillow, but says nothing. */
static void silent(j_common_ptr cinfo)
{
  (void)cinfo;
}

static void nothing(j_decompress_ptr cinfo)
{
  (void)cinfo;
}

static boolean fill(j_decompress_ptr cinfo)
{
  if (!((struct pillow_exact_shared *)cinfo->client_data)->next_block(cinfo))
    leave((j_common_ptr)cinfo, TRUNCATED);
  return TRUE;
}

static void skip(j_decompress_ptr cinfo, long count)
{
  if (!((struct pillow_exact_shared *)cinfo->client_data)->skip(cinfo, count))
    leave((j_common_ptr)cinfo, TRUNCATED);
}

/* `cinfo` has its `client_data` and `err`. */
int pillow_exact_jpeg(j_decompress_ptr cinfo, int step, void *argument, unsigned int *result)
{
  jmp_buf way_out;
  int reason;

  ((struct pillow_exact_shared *)cinfo->client_data)->way_out = &way_out;
  reason = setjmp(way_out);
  if (reason != 0)
    return reason;
  switch ((enum step)step) {
  case CREATE:
    jpeg_std_error(cinfo->err);
    cinfo->err->error_exit = error_exit;
    cinfo->err->output_message = silent;
    jpeg_create_decompress(cinfo);
    cinfo->src = (struct jpeg_source_mgr *)argument;
    cinfo->src->init_source = nothing;
    cinfo->src->fill_input_buffer = fill;
    cinfo->src->skip_input_data = skip;
    cinfo->src->resync_to_restart = jpeg_resync_to_restart;
    cinfo->src->term_source = nothing;
    break;
  case HEADER:
    /* Without a picture in it this is no error: the next file may follow. At the end there is one. */
    while (jpeg_read_header(cinfo, FALSE) == JPEG_HEADER_TABLES_ONLY)
      ;
    break;
  case START:
    jpeg_start_decompress(cinfo);
    if (((struct pillow_exact_shared *)cinfo->client_data)->by_tables)
      pillow_exact_start_huffman(cinfo);
    break;
  case SCANLINES:
    *result = jpeg_read_scanlines(cinfo, (JSAMPARRAY)argument, 1);
    break;
  case RAW:
    *result = jpeg_read_raw_data(cinfo, (JSAMPIMAGE)argument, cinfo->max_v_samp_factor * DCTSIZE);
    break;
  case FINISH:
    jpeg_finish_decompress(cinfo);
    break;
  }
  return DONE;
}
