/* The coefficients of a sequential picture in one scan, decoded faster than by libjpeg's decode_mcu, which decodes
 * whatever is unusual: restarts, the end of the data, markers in it.
 *
 * A table tells of most coefficients by one look at the next bits what they are, where libjpeg looks for the code and
 * then reads the value; and the next bytes are taken all at once where none of them needs a second look. What is
 * decoded is the same, bit for bit, and so are the bits that are read ahead: when libjpeg asks for more bytes decides
 * whether a cut file is one that Pillow reads. */

/* The decoder keeps its state to itself, so its source is included; only its types and macros are used. */
#define jpeg_make_d_derived_tbl pillow_exact_unused_make_d_derived_tbl
#define jpeg_fill_bit_buffer pillow_exact_unused_fill_bit_buffer
#define jpeg_huff_decode pillow_exact_unused_huff_decode
#define jinit_huff_decoder pillow_exact_unused_init
#include "jdhuff.c"

#include <stdint.h>
#include <string.h>

#include "huffman.h"

#if BIT_BUF_SIZE == 64

/* Bits that are looked at together: most codes of a photograph with their values. */
#define LOOK 10

/* What the next bits are: a code that ends within them, and perhaps its value. 0 where not even the code does. */
#define ENTRY(value, run, size, bits, has_value) \
  ((int32_t)((uint32_t)(value) << 16 | (uint32_t)(has_value) << 15 | (run) << 9 | (size) << 5 | (bits)))
#define VALUE(entry) ((entry) >> 16)
#define HAS_VALUE(entry) ((entry) & 1 << 15)
#define RUN(entry) ((entry) >> 9 & 15)
#define SIZE(entry) ((entry) >> 5 & 15)
#define BITS(entry) ((entry) & 31)

struct pillow_exact_huffman {
  boolean (*decode_mcu)(j_decompress_ptr, JBLOCKROW *);
  /* Of each block of an MCU. */
  const int32_t *tables[D_MAX_BLOCKS_IN_MCU];
};

static void make_table(int32_t *table, const d_derived_tbl *derived)
{
  int bits;

  for (bits = 0; bits < 1 << LOOK; bits++) {
    int found = derived->lookup[bits >> (LOOK - HUFF_LOOKAHEAD)];
    int length = found >> HUFF_LOOKAHEAD;
    int symbol = found & 0xFF;
    int run, size, value;

    if (length > HUFF_LOOKAHEAD) {
      while (length <= LOOK && bits >> (LOOK - length) > derived->maxcode[length])
        length++;
      if (length > LOOK) {
        table[bits] = 0;
        continue;
      }
      symbol = derived->pub->huffval[(int)((bits >> (LOOK - length)) + derived->valoffset[length]) & 0xFF];
    }
    run = symbol >> 4;
    size = symbol & 15;
    if (size == 0 || length + size > LOOK) {
      table[bits] = ENTRY(0, run, size, length, 0);
      continue;
    }
    value = bits >> (LOOK - length - size) & ((1 << size) - 1);
    value = HUFF_EXTEND(value, size);
    table[bits] = ENTRY(value, run, size, length + size, 1);
  }
}

/* As FILL_BIT_BUFFER_FAST. */
#define FILL \
  if (bits_left <= 16) { \
    uint64_t next = (uint64_t)buffer[0] << 40 | (uint64_t)buffer[1] << 32 | (uint64_t)buffer[2] << 24 | \
                    (uint64_t)buffer[3] << 16 | (uint64_t)buffer[4] << 8 | (uint64_t)buffer[5]; \
    /* A byte of which all bits are set may be a marker's. */ \
    if (((next & 0x7F7F7F7F7F7F) + 0x010101010101) & next & 0x808080808080) { \
      GET_BYTE GET_BYTE GET_BYTE GET_BYTE GET_BYTE GET_BYTE \
    } else { \
      get_buffer = get_buffer << 48 | next; \
      bits_left += 48; \
      buffer += 6; \
    } \
  }
#undef FILL_BIT_BUFFER_FAST
#define FILL_BIT_BUFFER_FAST FILL

static boolean decode_mcu_by_tables(j_decompress_ptr cinfo, JBLOCKROW *MCU_data)
{
  huff_entropy_ptr entropy = (huff_entropy_ptr)cinfo->entropy;
  const struct pillow_exact_huffman *huffman = *pillow_exact_huffman_of(cinfo);
  BITREAD_STATE_VARS;
  JOCTET *buffer;
  savable_state state;
  int blkn;

  if (cinfo->restart_interval || entropy->pub.insufficient_data || cinfo->unread_marker != 0 || MCU_data == NULL ||
      cinfo->src->bytes_in_buffer < BUFSIZE * (size_t)cinfo->blocks_in_MCU)
    return huffman->decode_mcu(cinfo, MCU_data);

  BITREAD_LOAD_STATE(cinfo, entropy->bitstate);
  buffer = (JOCTET *)br_state.next_input_byte;
  state = entropy->saved;
  for (blkn = 0; blkn < cinfo->blocks_in_MCU; blkn++) {
    JCOEF *block = *MCU_data[blkn];
    const d_derived_tbl *dctbl = entropy->dc_cur_tbls[blkn];
    const d_derived_tbl *actbl = entropy->ac_cur_tbls[blkn];
    const int32_t *table = huffman->tables[blkn];
    int ci = cinfo->MCU_membership[blkn];
    int s, k, r, l;

    HUFF_DECODE_FAST(s, l, dctbl);
    if (s) {
      FILL
      r = GET_BITS(s);
      s = HUFF_EXTEND(r, s);
    }
    /* As in libjpeg it may overflow, and wraps around. */
    s = (int)((unsigned int)s + (unsigned int)state.last_dc_val[ci]);
    state.last_dc_val[ci] = s;
    block[0] = (JCOEF)s;

    for (k = 1; k < DCTSIZE2; k++) {
      int32_t entry;

      FILL
      entry = table[get_buffer >> (bits_left - LOOK) & ((1 << LOOK) - 1)];
      if (HAS_VALUE(entry)) {
        k += RUN(entry);
        bits_left -= BITS(entry);
        block[jpeg_natural_order[k]] = (JCOEF)VALUE(entry);
        /* libjpeg has read on before the value, which is of use to the next code; if there is none it counts too. */
        if (k >= DCTSIZE2 - 1 && bits_left + SIZE(entry) <= 16) {
          FILL
        }
        continue;
      }
      if (entry != 0) {
        bits_left -= BITS(entry);
        r = RUN(entry);
        s = SIZE(entry);
      } else {
        HUFF_DECODE_FAST(s, l, actbl);
        r = s >> 4;
        s &= 15;
      }
      if (s) {
        k += r;
        FILL
        r = GET_BITS(s);
        s = HUFF_EXTEND(r, s);
        block[jpeg_natural_order[k]] = (JCOEF)s;
      } else {
        if (r != 15)
          break;
        k += 15;
      }
    }
  }

  if (cinfo->unread_marker != 0) {
    /* There is a marker in what was read: from where it was before. */
    cinfo->unread_marker = 0;
    return huffman->decode_mcu(cinfo, MCU_data);
  }
  br_state.bytes_in_buffer -= buffer - br_state.next_input_byte;
  br_state.next_input_byte = buffer;
  BITREAD_SAVE_STATE(cinfo, entropy->bitstate);
  entropy->saved = state;
  return TRUE;
}

void pillow_exact_start_huffman(j_decompress_ptr cinfo)
{
  huff_entropy_ptr entropy = (huff_entropy_ptr)cinfo->entropy;
  struct pillow_exact_huffman *huffman;
  int32_t *tables[NUM_HUFF_TBLS] = { NULL };
  int blkn;

  if (cinfo->arith_code || cinfo->progressive_mode || cinfo->inputctl->has_multiple_scans)
    return;
  for (blkn = 0; blkn < cinfo->blocks_in_MCU; blkn++)
    if (!entropy->dc_needed[blkn] || !entropy->ac_needed[blkn])
      return;
  huffman = (*cinfo->mem->alloc_small)((j_common_ptr)cinfo, JPOOL_IMAGE, sizeof(*huffman));
  for (blkn = 0; blkn < cinfo->blocks_in_MCU; blkn++) {
    int number = cinfo->cur_comp_info[cinfo->MCU_membership[blkn]]->ac_tbl_no;

    if (tables[number] == NULL) {
      tables[number] =
        (*cinfo->mem->alloc_small)((j_common_ptr)cinfo, JPOOL_IMAGE, sizeof(int32_t) << LOOK);
      make_table(tables[number], entropy->ac_cur_tbls[blkn]);
    }
    huffman->tables[blkn] = tables[number];
  }
  huffman->decode_mcu = entropy->pub.decode_mcu;
  entropy->pub.decode_mcu = decode_mcu_by_tables;
  *pillow_exact_huffman_of(cinfo) = huffman;
}

#else

void pillow_exact_start_huffman(j_decompress_ptr cinfo)
{
  (void)cinfo;
}

#endif
