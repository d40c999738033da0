/* The coefficients of a sequential picture in one scan, decoded faster than by libjpeg's decode_mcu, which decodes
 * whatever is unusual: the end of the data, markers in it.
 *
 * A table tells by one look at the next bits what most coefficients are, two at a time where both are short, where
 * libjpeg looks for a code and then reads its value; and bits are taken from the data without asking each time whether
 * there are enough. What is decoded is the same, bit for bit. So is how far libjpeg seems to have read ahead, for when it
 * asks for more bytes decides whether a cut file is one that Pillow reads: it takes 48 bits whenever there are 16 or fewer
 * before a code or a value, which is made up for when libjpeg goes on (`leave`).
 *
 * A few MCUs are decoded before the samples of all are made, so that what one step has stored is there when the next one
 * loads it. */

/* The decoder keeps its state to itself, so its source is included; only its types and macros are used. */
#define jpeg_make_d_derived_tbl pillow_exact_unused_make_d_derived_tbl
#define jpeg_fill_bit_buffer pillow_exact_unused_fill_bit_buffer
#define jpeg_huff_decode pillow_exact_unused_huff_decode
#define jinit_huff_decoder pillow_exact_unused_init
#include "jdhuff.c"

#include <stdint.h>
#include <string.h>

#include "huffman.h"

static struct pillow_exact_shared *shared_of(j_decompress_ptr cinfo)
{
  return (struct pillow_exact_shared *)cinfo->client_data;
}

#if BIT_BUF_SIZE == 64

/* Bits that are looked at together. */
#define LOOK 10
#define LOOKS (1 << LOOK)

/* What the next bits are, in a table of coefficients: one of them, or two, with the zeros before each. */
typedef uint64_t entry;
/* Bits of all, which a shift takes as they are. */
#define BITS(e) ((int)((e) & 63))
/* Only `FIRST_BITS` is known: not even a code ends here if that is 0, else it does, but not its value. */
#define SLOW 64
#define FIRST_BITS(e) ((int)((e) >> 8 & 15))
/* Bits that are read of the first, or the last, after libjpeg has looked for the last time whether there are enough. */
#define FIRST_REST(e) ((int)((e) >> 12 & 15))
#define LAST_REST(e) ((int)((e) >> 48 & 15))
/* How far each is from the one before. */
#define FIRST_STEP(e) ((int)((e) >> 16 & 255))
#define SECOND_STEP(e) ((int)((e) >> 24 & 255))
/* 0 where only zeros are told of. */
#define FIRST_VALUE(e) ((JCOEF)((e) >> 32))
#define SECOND_VALUE(e) ((JCOEF)((int64_t)(e) >> 52))
#define ENTRY(bits, first_bits, first_rest, first_step, second_step, first_value, last_rest, second_value) \
  ((entry)(bits) | (entry)(first_bits) << 8 | (entry)(first_rest) << 12 | (entry)(first_step) << 16 | \
   (entry)(second_step) << 24 | (entry)(uint16_t)(first_value) << 32 | (entry)(last_rest) << 48 | \
   (entry)((second_value) & 0xFFF) << 52)
/* A step to here is the end of a block. */
#define END 128
/* Up to here two steps of a table stay inside of a block, unless the second leads out. */
#define SAFE 46

/* The same for the first coefficient of a block: the value, and bits of it and its code; 0 where they are more. */
typedef int32_t first_entry;
#define FIRST_ENTRY(value, bits) ((first_entry)((uint32_t)(value) << 16 | (bits)))

/* MCUs that are decoded before their samples are made. */
#define BATCH 8

/* What `rest` is before an MCU was read. */
#define NOTHING_READ (-1)

/* Bytes of which the first MCU is decoded as libjpeg does where it has many, whatever they are; and it may not have read
 * as far as `reader` has. */
#define ENOUGH(cinfo) (BUFSIZE * (size_t)(cinfo)->blocks_in_MCU + 32)

/* The next bits, from the highest on, and how many they are; what is below them is what follows, or 0. */
struct reader {
  uint64_t buffer;
  int bits;
  const JOCTET *next;
  /* Bytes that were skipped because they stand behind one of all ones. */
  size_t stuffed;
};

struct pillow_exact_huffman {
  boolean (*decode_mcu)(j_decompress_ptr, JBLOCKROW *);
  /* Of each block of an MCU. */
  const first_entry *first[D_MAX_BLOCKS_IN_MCU];
  const entry *tables[D_MAX_BLOCKS_IN_MCU];
  /* Where in a block the coefficient of a place in zigzag order is; the last one for those behind, which hold 0. */
  unsigned char natural[END + DCTSIZE2];
  /* Whether MCUs are read here: then libjpeg's own place is where that began, and `reader` behind the last of them. */
  int reads;
  struct reader reader;
  /* Bits of the last that were read after libjpeg would have looked whether there are enough. */
  int rest;
  unsigned char last[BATCH * D_MAX_BLOCKS_IN_MCU];
  JBLOCK *blocks;
};

/* The value that so many bits stand for. */
static INLINE int extended(int bits, int size)
{
  return bits < 1 << (size - 1) ? bits - (1 << size) + 1 : bits;
}

static void make_first_table(first_entry *table, const JHUFF_TBL *codes)
{
  int length, count, bits, i, place = 0, number = 0;

  memset(table, 0, sizeof(first_entry) * LOOKS);
  for (length = 1; length <= LOOK; length++)
    for (count = codes->bits[length]; count > 0; count--, place += 1 << (LOOK - length)) {
      int size = codes->huffval[number++];
      int free = LOOK - length - size;

      for (bits = 0; free >= 0 && bits < 1 << size; bits++)
        for (i = 0; i < 1 << free; i++)
          table[place + (bits << free) + i] = FIRST_ENTRY(size == 0 ? 0 : extended(bits, size), length + size);
    }
}

static void make_table(entry *table, const JHUFF_TBL *codes)
{
  entry single[LOOKS];
  int length, count, bits, i, place = 0, number = 0;

  for (i = 0; i < LOOKS; i++)
    single[i] = SLOW;
  for (length = 1; length <= LOOK; length++)
    for (count = codes->bits[length]; count > 0; count--, place += 1 << (LOOK - length)) {
      int symbol = codes->huffval[number++];
      int run = symbol >> 4;
      int size = symbol & 15;
      int free = LOOK - length - size;

      if (size == 0 || free < 0) {
        entry found = size != 0 ? ENTRY(SLOW, length, size, run + 1, 0, 0, 0, 0)
                      : run == 15 ? ENTRY(length, length, length, 16, 0, 0, length, 0)
                                  : ENTRY(length, 0, length, END, 0, 0, length, 0);

        for (i = 0; i < 1 << (LOOK - length); i++)
          single[place + i] = found;
        continue;
      }
      for (bits = 0; bits < 1 << size; bits++) {
        int value = extended(bits, size);

        for (i = 0; i < 1 << free; i++)
          single[place + (bits << free) + i] =
            ENTRY(length + size, length + size, size, run + 1, 0, value, size, value);
      }
    }
  for (place = 0; place < LOOKS; place++) {
    entry one = single[place];
    int used = FIRST_BITS(one);
    entry other = single[place << used & (LOOKS - 1)];

    if (!((one | other) & SLOW) && used != 0 && used + BITS(other) <= LOOK)
      one = ENTRY(used + BITS(other), used, FIRST_REST(one), FIRST_STEP(one), FIRST_STEP(other), FIRST_VALUE(one),
                  LAST_REST(other), FIRST_VALUE(other));
    table[place] = one;
  }
}

/* Takes bytes until there are more than 55 bits; fewer are left where there is a marker. */
static struct reader refilled(struct reader reader)
{
  while (reader.bits < 56) {
    uint64_t byte = *reader.next++;

    if (byte == 0xFF) {
      if (*reader.next++ != 0)
        break;
      reader.stuffed++;
    }
    reader.buffer |= byte << (56 - reader.bits);
    reader.bits += 8;
  }
  return reader;
}

/* From here on `reader` is a variable, `marker` a label for where there is one. */
#define REFILL { \
  const JOCTET *at = reader.next; \
  uint64_t ahead = (uint64_t)at[0] << 56 | (uint64_t)at[1] << 48 | (uint64_t)at[2] << 40 | (uint64_t)at[3] << 32 | \
                   (uint64_t)at[4] << 24 | (uint64_t)at[5] << 16 | (uint64_t)at[6] << 8 | (uint64_t)at[7]; \
  /* A byte of which all bits are set may be a marker's. */ \
  if (((ahead & 0x7F7F7F7F7F7F7F7F) + 0x0101010101010101) & ahead & 0x8080808080808080) { \
    reader = refilled(reader); \
    if (reader.bits < 56) \
      goto marker; \
  } else { \
    reader.buffer |= ahead >> reader.bits; \
    reader.next += (63 - reader.bits) >> 3; \
    reader.bits |= 56; \
  } \
}
#define NEXT(count) ((int)(reader.buffer >> (64 - (count))))
#define TAKE(count) (reader.buffer <<= (count), reader.bits -= (count))

/* A code that has more than `known` bits: 0 where there is none, which libjpeg finds after 17 bits. */
#define TAKE_LONG_CODE(symbol, length, known, derived) { \
  length = (known) + 1; \
  while (NEXT(length) > derived->maxcode[length]) \
    length++; \
  symbol = length > 16 ? 0 : derived->pub->huffval[(int)(NEXT(length) + derived->valoffset[length]) & 0xFF]; \
  TAKE(length); \
}

/* One coefficient, of which the table does not know all. */
#define SLOW_STEP { \
  int symbol, length; \
  \
  REFILL \
  length = FIRST_BITS(e); \
  symbol = (FIRST_STEP(e) - 1) << 4 | FIRST_REST(e); \
  if (length != 0) \
    TAKE(length); \
  else \
    TAKE_LONG_CODE(symbol, length, LOOK, ac) \
  rest = symbol & 15; \
  if (rest != 0) { \
    k += (symbol >> 4) + 1; \
    block[natural[k]] = (JCOEF)extended(NEXT(rest), rest); \
    TAKE(rest); \
  } else { \
    k += symbol >> 4 == 15 ? 16 : END; \
    rest = length; \
  } \
}

/* What the table tells. */
#define STEP \
  e = table[NEXT(LOOK)]; \
  if (e & SLOW) \
    goto slow; \
  TAKE(BITS(e)); \
  k += FIRST_STEP(e); \
  block[natural[k]] = FIRST_VALUE(e); \
  k += SECOND_STEP(e); \
  block[natural[k]] = SECOND_VALUE(e); \
  if (k > SAFE) { \
    rest = LAST_REST(e); \
    break; \
  }

/* Decodes up to `count` MCUs, to blocks that hold 0, as long as nothing is unusual, and says how many that were. */
static INLINE unsigned int decode_with(j_decompress_ptr cinfo, unsigned int count, JBLOCK *blocks, unsigned char *last)
{
  huff_entropy_ptr entropy = (huff_entropy_ptr)cinfo->entropy;
  struct pillow_exact_huffman *huffman = shared_of(cinfo)->huffman;
  const unsigned char *natural = huffman->natural;
  const JOCTET *end = cinfo->src->next_input_byte + cinfo->src->bytes_in_buffer;
  struct reader reader = huffman->reader;
  int rest = 0;
  unsigned int mcu;

  for (mcu = 0; mcu < count && (size_t)(end - reader.next) >= ENOUGH(cinfo); mcu++) {
    savable_state state = entropy->saved;
    int blkn;

    for (blkn = 0; blkn < cinfo->blocks_in_MCU; blkn++) {
      const entry *table = huffman->tables[blkn];
      const d_derived_tbl *dc = entropy->dc_cur_tbls[blkn];
      const d_derived_tbl *ac = entropy->ac_cur_tbls[blkn];
      JCOEF *block = *blocks++;
      int ci = cinfo->MCU_membership[blkn];
      int k = 0;
      first_entry first;
      entry e;

      REFILL
      first = huffman->first[blkn][NEXT(LOOK)];
      if (first != 0) {
        TAKE(first & 63);
        first >>= 16;
      } else {
        int size, length;

        first = dc->lookup[NEXT(HUFF_LOOKAHEAD)];
        size = first & ((1 << HUFF_LOOKAHEAD) - 1);
        length = first >> HUFF_LOOKAHEAD;
        if (length <= HUFF_LOOKAHEAD)
          TAKE(length);
        else
          TAKE_LONG_CODE(size, length, HUFF_LOOKAHEAD, dc)
        first = 0;
        if (size != 0) {
          first = extended(NEXT(size), size);
          TAKE(size);
        }
        REFILL
      }
      /* As in libjpeg it may overflow, and wraps around. */
      first = (int)((unsigned int)first + (unsigned int)state.last_dc_val[ci]);
      state.last_dc_val[ci] = first;
      block[0] = (JCOEF)first;

      /* There are bits for four steps. */
      for (;;) {
        STEP
        STEP
        STEP
        STEP
        REFILL
        continue;
      slow:
        SLOW_STEP
        if (k > SAFE)
          break;
        REFILL
      }
      while (k < DCTSIZE2 - 1) {
        REFILL
        e = table[NEXT(LOOK)];
        if (e & SLOW) {
          SLOW_STEP
          continue;
        }
        /* Only the first, but that is none where the block ends. */
        k += FIRST_STEP(e);
        block[natural[k]] = FIRST_VALUE(e);
        rest = FIRST_REST(e);
        TAKE(FIRST_BITS(e) != 0 ? FIRST_BITS(e) : BITS(e));
      }
      *last++ = (unsigned char)(k >= END ? k - END : k < DCTSIZE2 ? k : DCTSIZE2 - 1);
    }
    REFILL
    /* As far as libjpeg may have read. */
    if (reader.next[0] == 0xFF && reader.next[1] != 0)
      goto marker;
    huffman->reader = reader;
    huffman->rest = rest;
    entropy->saved = state;
  }
marker:
  return mcu;
}

#if defined(__x86_64__) && defined(__GNUC__)
/* Shifts by a number of bits that is not known before take a third of the time with it. */
__attribute__((target("bmi2"))) static unsigned int decode_with_bmi2(j_decompress_ptr cinfo, unsigned int count,
                                                                     JBLOCK *blocks, unsigned char *last)
{
  return decode_with(cinfo, count, blocks, last);
}
#endif

static unsigned int decode_mcus(j_decompress_ptr cinfo, unsigned int count, JBLOCK *blocks, unsigned char *last)
{
#if defined(__x86_64__) && defined(__GNUC__)
  if (shared_of(cinfo)->has_bmi2)
    return decode_with_bmi2(cinfo, count, blocks, last);
#endif
  return decode_with(cinfo, count, blocks, last);
}

/* Begins to read MCUs here, if there are many bytes to come and nothing is unusual. */
static void begin(j_decompress_ptr cinfo)
{
  huff_entropy_ptr entropy = (huff_entropy_ptr)cinfo->entropy;
  struct pillow_exact_huffman *huffman = shared_of(cinfo)->huffman;
  int bits = entropy->bitstate.bits_left;

  if (huffman->reads || entropy->pub.insufficient_data || cinfo->unread_marker != 0 || bits > 56 ||
      cinfo->src->bytes_in_buffer < ENOUGH(cinfo))
    return;
  huffman->reads = 1;
  huffman->rest = NOTHING_READ;
  huffman->reader.buffer = bits == 0 ? 0 : (uint64_t)entropy->bitstate.get_buffer << (64 - bits);
  huffman->reader.bits = bits;
  huffman->reader.next = cinfo->src->next_input_byte;
  huffman->reader.stuffed = 0;
}

/* Leaves the rest to libjpeg, which is to have read ahead as far as if it had decoded all: 48 bits more whenever there
 * were 16 or fewer before a code or a value. */
static void leave(j_decompress_ptr cinfo)
{
  huff_entropy_ptr entropy = (huff_entropy_ptr)cinfo->entropy;
  struct pillow_exact_huffman *huffman = shared_of(cinfo)->huffman;
  struct reader reader = huffman->reader;
  int had = entropy->bitstate.bits_left;
  size_t read, wanted = 0;
  int64_t used, bits;

  if (!huffman->reads)
    return;
  huffman->reads = 0;
  if (huffman->rest == NOTHING_READ)
    return;
  read = (size_t)(reader.next - cinfo->src->next_input_byte) - reader.stuffed;
  used = had + 8 * (int64_t)read - reader.bits;
  /* When it has looked for the last time. */
  bits = had - (used - huffman->rest);
  if (bits <= 16)
    wanted = (size_t)((16 - bits) / 48 + 1) * 6;
  bits = had + 8 * (int64_t)wanted - used;
  for (; read < wanted; read++) {
    reader.buffer |= (uint64_t)*reader.next << (56 - reader.bits);
    reader.bits += 8;
    reader.next += *reader.next == 0xFF ? 2 : 1;
  }
  for (; read > wanted; read--) {
    reader.next--;
    if (reader.next[0] == 0 && reader.next[-1] == 0xFF)
      reader.next--;
  }
  entropy->bitstate.get_buffer = bits == 0 ? 0 : reader.buffer >> (64 - bits);
  entropy->bitstate.bits_left = (int)bits;
  cinfo->src->bytes_in_buffer -= (size_t)(reader.next - cinfo->src->next_input_byte);
  cinfo->src->next_input_byte = reader.next;
}

/* Decodes so many MCUs, those by libjpeg of which something is unusual. */
static void decode_batch(j_decompress_ptr cinfo, unsigned int count)
{
  struct pillow_exact_huffman *huffman = shared_of(cinfo)->huffman;
  unsigned int blocks = (unsigned int)cinfo->blocks_in_MCU;
  unsigned int done = 0, i;

  memset(huffman->blocks, 0, count * blocks * sizeof(JBLOCK));
  while (done < count) {
    JBLOCKROW mcu[D_MAX_BLOCKS_IN_MCU];

    begin(cinfo);
    if (huffman->reads)
      done += decode_mcus(cinfo, count - done, huffman->blocks + done * blocks, huffman->last + done * blocks);
    if (done == count)
      return;
    leave(cinfo);
    memset(huffman->blocks + done * blocks, 0, blocks * sizeof(JBLOCK));
    memset(huffman->last + done * blocks, DCTSIZE2 - 1, blocks);
    for (i = 0; i < blocks; i++)
      mcu[i] = huffman->blocks + done * blocks + i;
    /* It returns when it has decoded one, for its bytes come when it asks for them, or it fails. */
    (void)(*huffman->decode_mcu)(cinfo, mcu);
    done++;
  }
}

/* Has samples made of the MCUs from `column` on that were decoded, in row `row` of those that make rows of the picture. */
static void make_samples(j_decompress_ptr cinfo, unsigned int column, unsigned int count, int row, JSAMPIMAGE image)
{
  struct pillow_exact_huffman *huffman = shared_of(cinfo)->huffman;
  int is_lowest = cinfo->input_iMCU_row == cinfo->total_iMCU_rows - 1;
  int ci, y, first = 0;

  for (ci = 0; ci < cinfo->comps_in_scan; ci++) {
    jpeg_component_info *component = cinfo->cur_comp_info[ci];
    struct pillow_exact_run run;

    run.component = component;
    run.across = (unsigned int)component->MCU_width;
    run.mcu = (unsigned int)cinfo->blocks_in_MCU;
    run.column = column * run.across;
    run.count = count * run.across;
    if (run.count > component->width_in_blocks - run.column)
      run.count = component->width_in_blocks - run.column;
    for (y = 0; y < component->MCU_height; y++, first += component->MCU_width) {
      /* Below the picture there is nothing. */
      if (is_lowest && row + y >= component->last_row_height)
        continue;
      run.blocks = huffman->blocks + first;
      run.last = huffman->last + first;
      run.rows = image[component->component_index] + (row + y) * DCTSIZE;
      shared_of(cinfo)->inverse_dct(cinfo, &run);
    }
  }
}

/* In the place of libjpeg's function that makes the samples of the MCUs that lie side by side. */
static int decompress(j_decompress_ptr cinfo, JSAMPIMAGE image)
{
  int is_lowest = cinfo->input_iMCU_row == cinfo->total_iMCU_rows - 1;
  const jpeg_component_info *only = cinfo->comps_in_scan == 1 ? cinfo->cur_comp_info[0] : NULL;
  int rows = only == NULL ? 1 : is_lowest ? only->last_row_height : only->v_samp_factor;
  int row;
  unsigned int column;

  for (row = 0; row < rows; row++)
    for (column = 0; column < cinfo->MCUs_per_row; column += BATCH) {
      unsigned int left = cinfo->MCUs_per_row - column;
      unsigned int count = left < BATCH ? left : BATCH;

      decode_batch(cinfo, count);
      make_samples(cinfo, column, count, row, image);
    }
  cinfo->output_iMCU_row++;
  if (++cinfo->input_iMCU_row < cinfo->total_iMCU_rows)
    return JPEG_ROW_COMPLETED;
  leave(cinfo);
  (*cinfo->inputctl->finish_input_pass)(cinfo);
  return JPEG_SCAN_COMPLETED;
}

void pillow_exact_start_huffman(j_decompress_ptr cinfo)
{
  huff_entropy_ptr entropy = (huff_entropy_ptr)cinfo->entropy;
  struct pillow_exact_huffman *huffman;
  first_entry *first[NUM_HUFF_TBLS] = { NULL };
  entry *tables[NUM_HUFF_TBLS] = { NULL };
  size_t size;
  int blkn, i;

  if (cinfo->arith_code || cinfo->progressive_mode || cinfo->inputctl->has_multiple_scans || cinfo->restart_interval)
    return;
  for (blkn = 0; blkn < cinfo->blocks_in_MCU; blkn++)
    if (!entropy->dc_needed[blkn] || !entropy->ac_needed[blkn])
      return;
  huffman = (*cinfo->mem->alloc_small)((j_common_ptr)cinfo, JPOOL_IMAGE, sizeof(*huffman));
  size = BATCH * (size_t)cinfo->blocks_in_MCU * sizeof(JBLOCK);
  huffman->blocks = (*cinfo->mem->alloc_small)((j_common_ptr)cinfo, JPOOL_IMAGE, size);
  for (blkn = 0; blkn < cinfo->blocks_in_MCU; blkn++) {
    const jpeg_component_info *component = cinfo->cur_comp_info[cinfo->MCU_membership[blkn]];
    int dc = component->dc_tbl_no;
    int ac = component->ac_tbl_no;

    if (first[dc] == NULL) {
      first[dc] = (*cinfo->mem->alloc_small)((j_common_ptr)cinfo, JPOOL_IMAGE, sizeof(first_entry) * LOOKS);
      make_first_table(first[dc], entropy->dc_cur_tbls[blkn]->pub);
    }
    if (tables[ac] == NULL) {
      tables[ac] = (*cinfo->mem->alloc_small)((j_common_ptr)cinfo, JPOOL_IMAGE, sizeof(entry) * LOOKS);
      make_table(tables[ac], entropy->ac_cur_tbls[blkn]->pub);
    }
    huffman->first[blkn] = first[dc];
    huffman->tables[blkn] = tables[ac];
  }
  for (i = 0; i < END + DCTSIZE2; i++)
    huffman->natural[i] = (unsigned char)(i < DCTSIZE2 ? jpeg_natural_order[i] : DCTSIZE2 - 1);
  huffman->reads = 0;
  huffman->decode_mcu = entropy->pub.decode_mcu;
  shared_of(cinfo)->huffman = huffman;
  cinfo->coef->decompress_data = decompress;
}

#else

void pillow_exact_start_huffman(j_decompress_ptr cinfo)
{
  (void)cinfo;
}

#endif
