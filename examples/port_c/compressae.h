/* CompresSAE in C99: open a model, encode rows, read packed codes, and search them. Bit for bit as in ../../spec/.
 *
 * Build with: cc -std=c99 -O2 -ftree-vectorize -ffp-contract=off -c compressae.c      (and link with -lm)
 *
 * - Every function that can fail returns a csae_status. It describes the failure in *error, which may be NULL.
 *   Outputs are not written before all arguments and rows have been checked.
 * - If a pointer that a function needs is NULL, it returns CSAE_ARGUMENT_ERROR and names the argument. NULL is allowed
 *   for the arrays and the workspace of 0 rows, and where a function says so. Functions that describe a handle or count
 *   bytes return zeros if it is NULL. Flags that are unknown, or of another function, are a CSAE_DOMAIN_ERROR.
 * - There is no global state. A handle does not change after it was made, so threads may share it.
 * - Only functions that open or make a handle allocate memory. The others use memory that the caller passes as
 *   `workspace`: of the stated number of bytes, at any alignment, one for each thread.
 * - Rows are counted from 0. Arrays are in C order, without gaps, and aligned as their type demands.
 */
#ifndef COMPRESSAE_H
#define COMPRESSAE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    CSAE_OK,
    CSAE_DOMAIN_ERROR,  /* a value that is not allowed: a zero row, NaN, k > h, codes of another model */
    CSAE_SHAPE_ERROR,   /* another number of columns or bytes than expected */
    CSAE_FORMAT_ERROR,  /* a file that is damaged, inconsistent, or of another format or version */
    CSAE_IO_ERROR,      /* a file that cannot be read */
    CSAE_MEMORY_ERROR,  /* not enough memory */
    CSAE_BUILD_ERROR,   /* this build or processor would compute other bits */
    CSAE_ARGUMENT_ERROR /* NULL as a pointer that the function needs */
} csae_status;

typedef struct {
    csae_status status;
    int64_t row;    /* the first row that is wrong, or -1 */
    char text[320]; /* what was expected, what came, and what to do */
} csae_error;

typedef enum { CSAE_FLOAT32 = 4, CSAE_FLOAT64 = 8 } csae_dtype;               /* bytes of a number */
typedef enum { CSAE_SPARSE, CSAE_RECONSTRUCTED, CSAE_ASYMMETRIC } csae_space; /* E15, E16, E17 */

enum { /* flags */
    /* Open a model without reading its weights: no CRC, no digest, no check for NaN. Takes less than a millisecond. Use
       it for files that were verified before, such as those that an app was installed with. */
    CSAE_UNVERIFIED = 1,
    /* Open a file of version 3 without its decoder. Files of version 1 and 2 are refused: they state no digest of the
       encoder alone. */
    CSAE_ENCODER_ONLY = 2,
    /* For csae_unit_rows, csae_encode and csae_refine: */
    CSAE_EMPTY_ZERO_ROWS = 4 /* a zero row gets a code of zeros (R4), instead of an error */
};

typedef struct { /* dense rows */
    const void *data;
    csae_dtype dtype;
    size_t n, d;
} csae_rows;

typedef struct { /* codes: k entries in each row, ascending indices below h */
    const int32_t *indices;
    const void *values;
    csae_dtype dtype;
    size_t n, k, h;
    const char *model; /* digest of the model that made them, or NULL if it is unknown */
} csae_code_rows;

typedef struct csae_model csae_model; /* weights */
typedef struct csae_codes csae_codes; /* codes of items, packed or not */
typedef struct csae_index csae_index; /* codes of items with their norms */

const char *csae_status_name(csae_status status); /* such as "DomainError" */

/* -- models: files of version 1, 2 (centred) and 3 (small), see spec/file-format.md, center.md, small.md -- */

/* Map the file, or read it where there is no mmap. */
csae_status csae_open_model(csae_model **model, const char *path, unsigned flags, csae_error *error);
/* The bytes of a file, which must outlive the model and stay as they are. */
csae_status csae_open_model_bytes(csae_model **model, const void *data, size_t size, unsigned flags, csae_error *error);
/* Arrays instead of a file, which must outlive the model: W_enc (d, h) and W_dec (h, d) may be NULL where they are not
   needed; b_enc (h) NULL is zeros; mean (d) NULL is a model that is not centred. */
csae_status csae_make_model(csae_model **model, csae_dtype dtype, size_t d, size_t h, size_t k, const void *W_enc,
                            const void *b_enc, const void *W_dec, const void *mean, csae_error *error);
void csae_close_model(csae_model *model);

typedef struct {
    csae_dtype dtype; /* of the decoded weights, of unit rows and of the values of codes */
    size_t d, h, k;
    int version; /* of the file, or 0 */
    int centered, has_encoder, has_decoder;
    const char *weights; /* as stored: "float64", "float32", "float16" or "int8" */
    const char *digest;  /* E18, or "" for csae_make_model */
} csae_model_info;
csae_model_info csae_describe_model(const csae_model *model);

typedef enum { CSAE_W_ENC, CSAE_B_ENC, CSAE_W_DEC, CSAE_MEAN } csae_weights;
/* Copy decoded weights, in the dtype of the model. */
csae_status csae_copy_weights(const csae_model *model, csae_weights which, void *out, csae_error *error);

/* -- codes of rows; values and unit rows are in the dtype of the model -- */

size_t csae_workspace_bytes(const csae_model *model); /* for all functions with a workspace but csae_refine */

/* E3, or E26 if the model is centred. x_unit is (n, d). */
csae_status csae_unit_rows(const csae_model *model, csae_rows x, unsigned flags, void *x_unit, void *workspace,
                           csae_error *error);
/* E4, E5. indices and values are (n, k). */
csae_status csae_encode(const csae_model *model, csae_rows x, size_t k, unsigned flags, int32_t *indices, void *values,
                        void *workspace, csae_error *error);
/* E19 to E22, of the m candidates in each row of `candidates` (n, m), or, if it is NULL, of the code with m entries. */
csae_status csae_refine(const csae_model *model, csae_rows x, size_t k, size_t m, const int32_t *candidates,
                        unsigned flags, int32_t *indices, void *values, void *workspace, csae_error *error);
size_t csae_refine_workspace_bytes(const csae_model *model, size_t k, size_t m);
/* E7. x_hat is (n, d). A centred model restores no mean here. */
csae_status csae_decode(const csae_model *model, csae_code_rows codes, void *x_hat, void *workspace, csae_error *error);
/* R1, R2: the k largest of h values. `from` are the indices of the values, or NULL for 0 to h - 1. */
csae_status csae_abs_topk(csae_dtype dtype, const void *pre, const int32_t *from, size_t h, size_t k, int32_t *indices,
                          void *values, csae_error *error);

/* -- packed codes, see spec/packed.md -- */

/* The bytes of a packed row, or 0 if k or bits are not allowed. */
size_t csae_packed_bytes(size_t h, size_t k, unsigned bits);
csae_status csae_pack(csae_code_rows codes, unsigned bits, uint8_t *packed, csae_error *error);
/* `width` is the number of bytes of a row; values are float32. */
csae_status csae_unpack(const uint8_t *packed, size_t n, size_t width, size_t h, size_t k, unsigned bits,
                        int32_t *indices, float *values, csae_error *error);

/* -- codes of items: files of codes and of packed codes -- */

csae_status csae_open_codes(csae_codes **codes, const char *path, csae_error *error);
csae_status csae_open_codes_bytes(csae_codes **codes, const void *data, size_t size, csae_error *error);
csae_status csae_make_codes(csae_codes **codes, csae_code_rows rows, csae_error *error); /* rows must outlive codes */
/* Packed rows without a file, such as those of a database; they must outlive the codes. */
csae_status csae_make_packed_codes(csae_codes **codes, const uint8_t *packed, size_t n, size_t h, size_t k,
                                   unsigned bits, const char *model, csae_error *error);
void csae_close_codes(csae_codes *codes);

typedef struct {
    csae_dtype dtype;
    size_t n, k, h;
    unsigned bits;         /* of a packed value, or 0 if the codes are not packed */
    const uint8_t *packed; /* the bytes of packed codes, or NULL */
    const char *model;     /* digest, or NULL if it is unknown */
} csae_codes_info;
csae_codes_info csae_describe_codes(const csae_codes *codes);
/* Rows first to first + n - 1, with values in the dtype of the codes. */
csae_status csae_read_codes(const csae_codes *codes, size_t first, size_t n, int32_t *indices, void *values,
                            csae_error *error);

/* -- search, exact: the `top` items with the highest scores; equal scores by ascending id (R10) -- */

/* Compute the norms of all items. Model and codes must outlive the index. The model may be NULL in sparse space. */
csae_status csae_make_index(csae_index **index, const csae_model *model, const csae_codes *codes, csae_space space,
                            csae_error *error);
void csae_close_index(csae_index *index);
size_t csae_index_workspace_bytes(const csae_index *index);
/* Dense queries, in asymmetric space. ids and scores are (n, min(top, items)). Items have the numbers of their rows. */
csae_status csae_search(const csae_index *index, csae_rows queries, size_t top, int64_t *ids, void *scores,
                        void *workspace, csae_error *error);
/* Queries that are codes, in sparse or reconstructed space. */
csae_status csae_search_codes(const csae_index *index, csae_code_rows queries, size_t top, int64_t *ids, void *scores,
                              void *workspace, csae_error *error);

/* -- one packed row at a time, such as in a function of a database; numbers are in the dtype of the model -- */

/* E17, for a single query: u has room for h + 1 numbers. The last one is the second term of E28, or 0. */
csae_status csae_query(const csae_model *model, csae_rows query, void *u, void *workspace, csae_error *error);
/* The norm of an item, which takes much longer than a score: store it with the row. `packed` has the bytes of a row. */
csae_status csae_packed_norm(const csae_model *model, const uint8_t *packed, size_t k, unsigned bits, void *norm,
                             void *workspace, csae_error *error);
/* What csae_search ranks by. If the model is centred, u[h] is added after the ranking. */
csae_status csae_packed_score(const csae_model *model, const void *u, const uint8_t *packed, size_t k, unsigned bits,
                              const void *norm, void *score, void *workspace, csae_error *error);

#ifdef __cplusplus
}
#endif
#endif
