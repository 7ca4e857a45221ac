#include "molecule.h"

/* Script and WitnessArgs are both tables of three fields. */
#define FIELDS 3
#define TABLE_HEADER_SIZE (4 + 4 * FIELDS)

static uint32_t read_u32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The three fields of a table that has exactly these; 0 when it is malformed. */
static int table_fields(span fields[FIELDS], uint8_t *data, uint64_t size) {
  if (size < TABLE_HEADER_SIZE || read_u32(data) != size) return 0;
  if (read_u32(data + 4) != TABLE_HEADER_SIZE) return 0;
  uint64_t start = TABLE_HEADER_SIZE;
  for (int i = 0; i < FIELDS; i++) {
    uint64_t end = i + 1 < FIELDS ? read_u32(data + 8 + 4 * i) : size;
    if (end < start || end > size) return 0;
    fields[i] = (span){data + start, end - start};
    start = end;
  }
  return 1;
}

/* The content of a serialized Bytes; 0 when it is malformed. */
static int bytes_content(span *content, const span *bytes) {
  if (bytes->size < 4 || read_u32(bytes->data) != bytes->size - 4) return 0;
  *content = (span){bytes->data + 4, bytes->size - 4};
  return 1;
}

int script_args(span *args, uint8_t *script, uint64_t size) {
  span fields[FIELDS];
  if (!table_fields(fields, script, size)) return 0;
  if (fields[0].size != 32 || fields[1].size != 1) return 0;
  return bytes_content(args, &fields[2]);
}

int witness_field(span *field, uint8_t *witness, uint64_t size, int which) {
  span fields[FIELDS], content;
  if (!table_fields(fields, witness, size)) return 0;
  for (int i = 0; i < FIELDS; i++) {
    if (fields[i].size > 0 && !bytes_content(&content, &fields[i])) return 0;
  }
  if (fields[which].size == 0) return 0;
  return bytes_content(field, &fields[which]);
}
