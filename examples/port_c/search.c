/* Encode queries and search packed codes: search MODEL PACKED QUERIES, where QUERIES holds rows of float32 numbers.
 *
 * cc -std=c99 -O2 -ftree-vectorize -ffp-contract=off -o search search.c compressae.c -lm
 */
#include "compressae.h"

#include <stdio.h>
#include <stdlib.h>

enum { TOP = 10 };

static csae_error error;

static void check(csae_status status) { /* a program decides itself what an error means for it */
    if (status == CSAE_OK) return;
    fprintf(stderr, "%s: %s\n", csae_status_name(status), error.text);
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
    size_t n = csae_describe_codes(codes).n, found = n < TOP ? n : TOP;
    void *to_encode = malloc(csae_workspace_bytes(model)), *to_search = malloc(csae_index_workspace_bytes(index));
    float *row = malloc(info.d * sizeof *row);
    int32_t *latents = malloc(info.k * sizeof *latents);
    double values[TOP], *code = malloc(info.k * sizeof *code); /* room for float32 and float64 */
    int64_t ids[TOP];
    FILE *queries = fopen(argv[3], "rb");
    if (!queries || !to_encode || !to_search || !row || !latents || !code) return perror(argv[3]), 1;

    while (fread(row, sizeof *row, info.d, queries) == info.d) {
        csae_rows query = {row, CSAE_FLOAT32, 1, info.d};
        check(csae_encode(model, query, info.k, 0, latents, code, to_encode, &error)); /* what an item would store */
        check(csae_search(index, query, TOP, ids, values, to_search, &error));
        printf("first latent %ld, items", (long)latents[0]);
        for (size_t i = 0; i < found; i++) printf(" %lld", (long long)ids[i]);
        printf("\n");
    }
    fclose(queries);
    free(code), free(latents), free(row), free(to_search), free(to_encode);
    csae_close_index(index);
    csae_close_codes(codes);
    csae_close_model(model);
    return 0;
}
