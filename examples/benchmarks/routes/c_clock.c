/* Times the library of examples/port_c, for c.py: MODEL PACKED ROWS QUERIES, where PACKED may be "-", and ROWS and
 * QUERIES hold float32 numbers. Prints one JSON object. */
#define _POSIX_C_SOURCE 200809L
#include "compressae.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PER_CALL = 64, TOP = 10 };

static csae_error error;

static void must(csae_status status) {
    if (status == CSAE_OK) return;
    fprintf(stderr, "%s\n", error.text);
    exit(1);
}

static double now(void) { /* milliseconds */
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static csae_rows read_rows(const char *path, size_t d) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) exit(1);
    size_t size = (size_t)ftell(file);
    float *data = malloc(size);
    rewind(file);
    if (data == NULL || fread(data, 1, size, file) != size) exit(1);
    fclose(file);
    return (csae_rows){data, CSAE_FLOAT32, size / 4 / d, d};
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static csae_rows part(csae_rows x, size_t first, size_t n) {
    return (csae_rows){(const float *)x.data + first * x.d, x.dtype, n, x.d};
}

static void put_times(const char *name, double *times, size_t n) {
    qsort(times, n, sizeof *times, ascending);
    printf(",\"%s\":%.4f,\"%s_least\":%.4f", name, times[n / 2], name, times[0]);
}

static void clock_encode(const csae_model *model, csae_rows x, size_t per_call, const char *name) {
    size_t k = csae_describe_model(model).k, n = x.n / per_call;
    void *workspace = malloc(csae_workspace_bytes(model)), *values = malloc(per_call * k * 8);
    int32_t *indices = malloc(per_call * k * 4);
    double *times = malloc(n * sizeof *times);
    for (size_t i = 0; i < n; i++) {
        double start = now();
        must(csae_encode(model, part(x, i * per_call, per_call), k, 0, indices, values, workspace, &error));
        times[i] = (now() - start) / (double)per_call;
    }
    put_times(name, times + 1, n - 1);
    free(times), free(indices), free(values), free(workspace);
}

static void clock_search(const csae_model *model, const char *path, csae_rows queries) {
    csae_codes *codes;
    csae_index *index;
    int64_t ids[TOP];
    double scores[TOP], start = now(), *times = malloc(queries.n * sizeof *times);
    must(csae_open_codes(&codes, path, &error));
    must(csae_make_index(&index, model, codes, CSAE_ASYMMETRIC, &error));
    printf(",\"index_ms\":%.1f", now() - start);
    void *workspace = malloc(csae_index_workspace_bytes(index));
    for (size_t i = 0; i < queries.n; i++) {
        start = now();
        must(csae_search(index, part(queries, i, 1), TOP, ids, scores, workspace, &error));
        times[i] = now() - start;
    }
    put_times("search_ms", times + 1, queries.n - 1);
    free(workspace), free(times);
    csae_close_index(index);
    csae_close_codes(codes);
}

static double peak_mb(void) { /* ru_maxrss would count the process that started this one */
    char line[256];
    long kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) sscanf(line, "VmHWM: %ld", &kilobytes);
    if (file != NULL) fclose(file);
    return (double)kilobytes / 1024;
}

int main(int argc, char **argv) {
    csae_model *model;
    if (argc != 5) return 2;
    double start = now();
    must(csae_open_model(&model, argv[1], CSAE_UNVERIFIED, &error));
    double quick = now() - start;
    csae_close_model(model);
    start = now();
    must(csae_open_model(&model, argv[1], 0, &error));
    printf("{\"open_ms\":%.2f,\"open_unverified_ms\":%.3f", now() - start, quick);
    size_t d = csae_describe_model(model).d;
    csae_rows x = read_rows(argv[3], d), queries = read_rows(argv[4], d);
    clock_encode(model, x, 1, "encode_ms");
    clock_encode(model, x, PER_CALL, "encode_many_ms");
    if (strcmp(argv[2], "-") != 0) clock_search(model, argv[2], queries);
    printf(",\"peak_mb\":%.1f}\n", peak_mb());
}
