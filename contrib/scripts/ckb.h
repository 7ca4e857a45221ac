/* The CKB-VM system calls of RFC 9 that these scripts use. */
#ifndef CKB_H
#define CKB_H

#include <stddef.h>
#include <stdint.h>

enum {
  CKB_SUCCESS = 0,
  CKB_INDEX_OUT_OF_BOUND = 1,
  CKB_ITEM_MISSING = 2,
};

enum { CKB_INPUT = 1, CKB_OUTPUT = 2, CKB_CELL_DEP = 3, CKB_HEADER_DEP = 4 };
/* the inputs of the running script's own group */
#define CKB_GROUP_INPUT 0x0100000000000001

enum { CELL_CAPACITY = 0, CELL_DATA_HASH = 1, CELL_TYPE_HASH = 5, CELL_OCCUPIED_CAPACITY = 6 };
enum { INPUT_SINCE = 1 };

enum {
  CALL_LOAD_SCRIPT = 2052,
  CALL_LOAD_TX_HASH = 2061,
  CALL_LOAD_SCRIPT_HASH = 2062,
  CALL_LOAD_HEADER = 2072,
  CALL_LOAD_WITNESS = 2074,
  CALL_LOAD_CELL_BY_FIELD = 2081,
  CALL_LOAD_INPUT_BY_FIELD = 2083,
  CALL_LOAD_CELL_DATA = 2092,
};

/*
 * All loading calls look alike: up to *size bytes of the item, from offset on, go
 * to buffer, and *size becomes what there is from offset on. Unused arguments are
 * ignored.
 */
static inline int ckb_load_from(int call, void *buffer, uint64_t *size, uint64_t offset, uint64_t index,
                                uint64_t source, uint64_t field) {
  register uint64_t a0 __asm__("a0") = (uint64_t)buffer;
  register uint64_t a1 __asm__("a1") = (uint64_t)size;
  register uint64_t a2 __asm__("a2") = offset;
  register uint64_t a3 __asm__("a3") = index;
  register uint64_t a4 __asm__("a4") = source;
  register uint64_t a5 __asm__("a5") = field;
  register uint64_t a7 __asm__("a7") = (uint64_t)call;
  __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7) : "memory");
  return (int)a0;
}

static inline int ckb_load(int call, void *buffer, uint64_t *size, uint64_t index, uint64_t source, uint64_t field) {
  return ckb_load_from(call, buffer, size, 0, index, source, field);
}

static inline int ckb_load_script(void *buffer, uint64_t *size) {
  return ckb_load(CALL_LOAD_SCRIPT, buffer, size, 0, 0, 0);
}

static inline int ckb_load_script_hash(void *buffer, uint64_t *size) {
  return ckb_load(CALL_LOAD_SCRIPT_HASH, buffer, size, 0, 0, 0);
}

static inline int ckb_load_tx_hash(void *buffer, uint64_t *size) {
  return ckb_load(CALL_LOAD_TX_HASH, buffer, size, 0, 0, 0);
}

static inline int ckb_load_witness(void *buffer, uint64_t *size, uint64_t index, uint64_t source) {
  return ckb_load(CALL_LOAD_WITNESS, buffer, size, index, source, 0);
}

static inline int ckb_load_header(void *buffer, uint64_t *size, uint64_t index, uint64_t source) {
  return ckb_load(CALL_LOAD_HEADER, buffer, size, index, source, 0);
}

static inline int ckb_load_cell_data(void *buffer, uint64_t *size, uint64_t index, uint64_t source) {
  return ckb_load(CALL_LOAD_CELL_DATA, buffer, size, index, source, 0);
}

static inline int ckb_load_cell_data_from(void *buffer, uint64_t *size, uint64_t offset, uint64_t index,
                                          uint64_t source) {
  return ckb_load_from(CALL_LOAD_CELL_DATA, buffer, size, offset, index, source, 0);
}

static inline int ckb_load_cell_by_field(void *buffer, uint64_t *size, uint64_t index, uint64_t source, int field) {
  return ckb_load(CALL_LOAD_CELL_BY_FIELD, buffer, size, index, source, (uint64_t)field);
}

static inline int ckb_load_input_by_field(void *buffer, uint64_t *size, uint64_t index, uint64_t source, int field) {
  return ckb_load(CALL_LOAD_INPUT_BY_FIELD, buffer, size, index, source, (uint64_t)field);
}

#endif
