/* Encode queries and search packed codes: search MODEL PACKED QUERIES, where QUERIES holds rows of float32 numbers.
 *
 * Build in this folder: cc -std=c99 -O2 -ftree-vectorize -ffp-contract=off -o search search.c compressae.c -lm
 */
#include "compressae.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOP = 10 };

static csae_error error;

static void check(csae_status status) { /* a program decides itself what an error means for it */
    if (status == CSAE_OK) return;
    fprintf(stderr, "%s: %s\n", csae_status_name(status), error.text);
    exit(1);
}

static void *get(void *memory, size_t bytes) {
    void *at = realloc(memory, bytes + 1);
    if (at == NULL) perror("search"), exit(1);
    return at;
}

static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    char *bytes = NULL;
    size_t room = 1 << 16, got = 1;
    for (*size = 0; file != NULL && got > 0; *size += got) {
        if (bytes == NULL || *size == room) bytes = get(bytes, room *= 2);
        got = fread(bytes + *size, 1, room - *size, file);
    }
    if (file == NULL || ferror(file)) perror(path), exit(1);
    fclose(file);
    return bytes;
}

/* The rows of a file, which holds nothing else. */
static float *read_queries(const char *path, size_t d, size_t *n) {
    size_t size, width = d * sizeof(float);
    char *bytes = read_file(path, &size);
    int is_npy = size >= 6 && memcmp(bytes, "\x93NUMPY", 6) == 0;
    *n = size / width;
    if (*n > 0 && size % width == 0 && !is_npy) return (float *)bytes;
    fprintf(stderr, "%s: expected rows of %lu float32 numbers, so a positive multiple of %lu bytes, got %s%lu bytes\n",
            path, (unsigned long)d, (unsigned long)width, is_npy ? "an .npy file of " : "", (unsigned long)size);
    if (is_npy) fprintf(stderr, "write its numbers alone: np.load('%s').astype('<f4').tofile('queries.f32')\n", path);
    exit(1);
}

int main(int argc, char **argv) {
    csae_model *model;
    csae_codes *codes;
    csae_index *index;
    if (argc != 4) return fprintf(stderr, "usage: search MODEL PACKED QUERIES\n"), 2;
    check(csae_open_model(&model, argv[1], 0, &error));
    check(csae_open_codes(&codes, argv[2], &error));
    check(csae_make_index(&index, model, codes, CSAE_ASYMMETRIC, &error)); /* a few microseconds for each item */

    csae_model_info info = csae_describe_model(model);
    size_t n, n_items = csae_describe_codes(codes).n, found = n_items < TOP ? n_items : TOP;
    float *queries = read_queries(argv[3], info.d, &n);
    void *to_encode = get(NULL, csae_workspace_bytes(model)), *to_search = get(NULL, csae_index_workspace_bytes(index));
    int32_t *latents = get(NULL, info.k * sizeof *latents);
    double values[TOP], *code = get(NULL, info.k * sizeof *code); /* room for float32 and float64 */
    int64_t ids[TOP];

    for (size_t q = 0; q < n; q++) {
        csae_rows query = {queries + q * info.d, CSAE_FLOAT32, 1, info.d};
        check(csae_encode(model, query, info.k, 0, latents, code, to_encode, &error)); /* what an item would store */
        check(csae_search(index, query, TOP, ids, values, to_search, &error));
        printf("first latent %ld, items", (long)latents[0]);
        for (size_t i = 0; i < found; i++) printf(" %lld", (long long)ids[i]);
        printf("\n");
    }
    free(code), free(latents), free(to_search), free(to_encode), free(queries);
    csae_close_index(index);
    csae_close_codes(codes);
    csae_close_model(model);
    return 0;
}
