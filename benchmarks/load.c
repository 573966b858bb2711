/* The client of benchmarks/api.py: HTTP/1.1 over TLS on keep-alive connections, one epoll loop, so that the load costs next to
 * nothing beside the server that is measured.
 *
 *   load http  PORT TOKEN CONNECTIONS COUNT SECONDS METHOD PATH [BODY [CONTENT-TYPE]]   until COUNT requests or SECONDS, 0: no limit
 *   load watch PORT TOKEN WATCHERS WRITERS EVENTS RATE COLLECTION REVISION              creates EVENTS ConfigMaps, RATE a second (0: at once)
 *   load idle  PORT TOKEN WATCHERS PATH                                                 watches until standard input ends
 *
 * The processes whose ids are in $LOAD_PIDS, separated by commas, are the servers: what CPU they spend is told too.
 * {i} in a path or body is the number of the request, {w} that of the connection, {r} is unique to the run. Prints one JSON object.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { HEAD, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END };

typedef struct {
    int fd, watching, wants_write, state, status, busy, worker;
    SSL *ssl;
    char *out, *in;
    size_t out_size, out_sent, in_size, in_room;
    long left, number;
    double began;
} Connection;

static const char *token, *run;
static int epoll_fd, port;
static SSL_CTX *context;
static double *sent_at, *delays, last_seen;
static long delays_count, delays_room, errors, bytes;
static int first_error;
static char needle[64];

static void on_answer(Connection *c);

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(1);
}

static Connection *open_connection(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    Connection *c = calloc(1, sizeof *c);
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->ssl = SSL_new(context);
    SSL_set_fd(c->ssl, c->fd);
    if (SSL_connect(c->ssl) != 1) die("TLS");
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
    c->in = malloc(c->in_room = 64 << 10);
    return c;
}

static void want(Connection *c, int write) {
    if (write == c->wants_write) return;
    c->wants_write = write;
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static void flush_out(Connection *c) {
    while (c->out_sent < c->out_size) {
        int n = SSL_write(c->ssl, c->out + c->out_sent, c->out_size - c->out_sent);
        if (n <= 0) {
            if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_WRITE) die("write");
            want(c, 1);
            return;
        }
        c->out_sent += n;
    }
    want(c, 0);
}

/* A template with its places filled; the caller frees it. */
static char *filled(const char *template, long number, int worker) {
    char digits[32], worker_digits[16], *text = malloc(strlen(template) * 4 + 256), *to = text;
    snprintf(digits, sizeof digits, "%ld", number);
    snprintf(worker_digits, sizeof worker_digits, "%d", worker);
    for (const char *from = template; *from;) {
        const char *value = !strncmp(from, "{i}", 3) ? digits : !strncmp(from, "{w}", 3) ? worker_digits : !strncmp(from, "{r}", 3) ? run : NULL;
        if (value) {
            to = stpcpy(to, value);
            from += 3;
        } else
            *to++ = *from++;
    }
    *to = 0;
    return text;
}

static void request(Connection *c, const char *method, const char *path, const char *body, const char *type, long number) {
    char *filled_path = filled(path, number, c->worker), *filled_body = filled(body, number, c->worker);
    free(c->out);
    c->out_size = asprintf(&c->out,
        "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: load\r\nAuthorization: Bearer %s\r\nAccept: application/json\r\n"
        "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
        method, filled_path, port, token, type, strlen(filled_body), filled_body);
    free(filled_path);
    free(filled_body);
    c->out_sent = 0;
    c->number = number;
    c->busy = 1;
    c->state = HEAD;
    c->in_size = 0;
    c->began = now();
    flush_out(c);
}

static void record(double delay) {
    if (delays_count == delays_room) delays = realloc(delays, (delays_room = delays_room * 2 + 4096) * sizeof *delays);
    delays[delays_count++] = delay;
}

/* Events of a watch: the whole lines at the start of the data; returns how much of it they are. */
static size_t events(const char *data, size_t size) {
    const char *line = data, *end;
    double seen = now();
    while ((end = memchr(line, '\n', data + size - line))) {
        const char *name = memmem(line, end - line, needle, strlen(needle));
        if (name) {
            record(seen - sent_at[atol(name + strlen(needle))]);
            last_seen = seen;
        }
        line = end + 1;
    }
    return line - data;
}

/* Takes what it can from the received bytes; returns how much. */
static size_t parse(Connection *c, char *data, size_t size) {
    char *end;
    if (c->state == HEAD) {
        if (!(end = memmem(data, size, "\r\n\r\n", 4))) return 0;
        *end = 0;
        c->status = atoi(data + 9);
        char *length = strcasestr(data, "\r\ncontent-length:");
        c->left = length ? atol(length + 17) : 0;
        c->state = strcasestr(data, "\r\ntransfer-encoding: chunked") ? CHUNK_SIZE : BODY;
        if (c->state == BODY && !c->left) on_answer(c);
        return end + 4 - data;
    }
    if (c->state == CHUNK_SIZE) {
        if (!(end = memmem(data, size, "\r\n", 2))) return 0;
        c->left = strtol(data, NULL, 16);
        c->state = c->left ? CHUNK_DATA : CHUNK_END;
        if (!c->left) c->left = -1;
        return end + 2 - data;
    }
    if (c->state == CHUNK_END) {
        if (size < 2) return 0;
        c->state = CHUNK_SIZE;
        if (c->left == -1) {
            c->left = 0;
            on_answer(c);
        }
        return 2;
    }
    size_t taken = (size_t)c->left < size ? (size_t)c->left : size;
    if (c->watching && delays) {
        size_t lines = events(data, taken);
        if (!lines && taken < (size_t)c->left) return 0;
        taken = lines ? lines : taken;
    }
    bytes += taken;
    c->left -= taken;
    if (!c->left) {
        if (c->state == CHUNK_DATA)
            c->state = CHUNK_END;
        else
            on_answer(c);
    }
    return taken;
}

static void receive(Connection *c) {
    for (;;) {
        if (c->in_size == c->in_room) c->in = realloc(c->in, c->in_room *= 2);
        int n = SSL_read(c->ssl, c->in + c->in_size, c->in_room - c->in_size);
        if (n <= 0) {
            int error = SSL_get_error(c->ssl, n);
            if (error == SSL_ERROR_WANT_READ) return;
            die("the server closed a connection");
        }
        c->in_size += n;
        size_t done = 0, taken;
        while (done < c->in_size && (taken = parse(c, c->in + done, c->in_size - done))) done += taken;
        if (done >= c->in_size)
            c->in_size = 0;
        else if (done) {
            memmove(c->in, c->in + done, c->in_size - done);
            c->in_size -= done;
        }
    }
}

static void turn(int milliseconds) {
    struct epoll_event ready[256];
    int count = epoll_wait(epoll_fd, ready, 256, milliseconds);
    for (int i = 0; i < count; i++) {
        Connection *c = ready[i].data.ptr;
        if (ready[i].events & EPOLLOUT) flush_out(c);
        if (ready[i].events & ~EPOLLOUT) receive(c);
    }
}

/* --- the work at hand: ``next`` of it is given to each connection that is free */

static const char *method, *path, *body, *type;
static long next, count;
static double stop_at, rate, started, *latencies;
static long answered;

static void give(Connection *c) {
    if ((count && next >= count) || (stop_at && now() >= stop_at)) return;
    if (rate && now() < started + next / rate) return;
    if (sent_at) sent_at[next] = now();
    request(c, method, path, body, type, next++);
}

static void on_answer(Connection *c) {
    c->busy = 0;
    if (c->watching) {
        fprintf(stderr, "load: a watch ended with status %d\n", c->status);
        exit(1);
    }
    if (c->status >= 300) {
        errors++;
        first_error = c->status;
    } else {
        latencies = realloc(latencies, (answered + 1) * sizeof *latencies);
        latencies[answered++] = now() - c->began;
    }
    if (!rate) give(c);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(double *values, long size, double at) {
    if (!size) return 0;
    qsort(values, size, sizeof *values, ascending);
    return values[(long)(at * (size - 1) + 0.5)] * 1e3;
}

static double cpu(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Seconds of CPU of each of $LOAD_PIDS: remembered, and printed as what was spent since. */
static double servers_before[8];

static void servers(int print) {
    char *pids = strdup(getenv("LOAD_PIDS") ? getenv("LOAD_PIDS") : ""), *rest = pids, *pid, file[64], stat[1024];
    for (int i = 0; i < 8 && (pid = strsep(&rest, ",")); i++) {
        long user = 0, system = 0;
        snprintf(file, sizeof file, "/proc/%s/stat", pid);
        FILE *opened = fopen(file, "r");
        if (!opened) continue;
        stat[fread(stat, 1, sizeof stat - 1, opened)] = 0;
        fclose(opened);
        sscanf(strrchr(stat, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system);
        double spent = (user + system) / (double)sysconf(_SC_CLK_TCK);
        if (print) printf("%s%f", i ? "," : "", spent - servers_before[i]);
        servers_before[i] = spent;
    }
    free(pids);
}

static Connection **open_all(int size) {
    Connection **all = malloc(size * sizeof *all);
    for (int i = 0; i < size; i++) (all[i] = open_connection())->worker = i;
    return all;
}

static void open_watches(int size, const char *watched) {
    Connection **all = open_all(size);
    for (int i = 0; i < size; i++) {
        all[i]->watching = 1;
        request(all[i], "GET", watched, "", "application/json", 0);
    }
    for (int i = 0; i < size; i++)
        while (all[i]->state == HEAD) turn(1000);
}

static void http(char **a) {
    int connections = atoi(a[0]);
    count = atol(a[1]);
    method = a[3], path = a[4], body = a[5] ? a[5] : "", type = a[5] && a[6] ? a[6] : "application/json";
    Connection **all = open_all(connections);
    double cpu_before = cpu();
    servers(0);
    started = now();
    stop_at = atof(a[2]) ? started + atof(a[2]) : 0;
    for (int i = 0; i < connections; i++) give(all[i]);
    for (int busy = 1; busy;) {
        turn(1000);
        busy = 0;
        for (int i = 0; i < connections; i++) busy += all[i]->busy;
    }
    double took = now() - started;
    printf("{\"rate\":%f,\"p50\":%f,\"p99\":%f,\"count\":%ld,\"errors\":%ld,\"status\":%d,\"bytes\":%ld,\"client\":%f,\"cpu\":[", answered / took,
        percentile(latencies, answered, .5), percentile(latencies, answered, .99), answered, errors, first_error,
        answered ? bytes / answered : 0, (cpu() - cpu_before) / took);
    servers(1);
    puts("]}");
}

static void watch(char **a) {
    int watchers = atoi(a[0]), writers = atoi(a[1]);
    char *watched;
    count = atol(a[2]);
    rate = atof(a[3]);
    if (asprintf(&watched, "%s?watch=1&resourceVersion=%s", a[4], a[5]) < 0) die("memory");
    snprintf(needle, sizeof needle, "\"name\":\"w%s-", run);
    sent_at = calloc(count, sizeof *sent_at);
    delays = malloc((delays_room = watchers * count + 1) * sizeof *delays);
    open_watches(watchers, watched);
    method = "POST", path = a[4], type = "application/json";
    body = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"w{r}-{i}\"},"
           "\"data\":{\"k\":\"0000000000000000000000000000000000000000000000000000000000000000\"}}";
    Connection **all = open_all(writers);
    usleep(300000);
    double cpu_before = cpu();
    servers(0);
    started = now();
    for (int i = 0; i < writers && !rate; i++) give(all[i]);
    while (delays_count < (long)watchers * count && now() < started + 120) {
        turn(rate ? 1 : 1000);
        for (int i = 0; i < writers && rate; i++)
            if (!all[i]->busy) give(all[i]);
    }
    double took = last_seen - started;
    printf("{\"rate\":%f,\"p50\":%f,\"p99\":%f,\"count\":%ld,\"errors\":%ld,\"status\":%d,\"create_p50\":%f,\"client\":%f,\"cpu\":[",
        delays_count / took, percentile(delays, delays_count, .5), percentile(delays, delays_count, .99), delays_count, errors,
        first_error, percentile(latencies, answered, .5), (cpu() - cpu_before) / took);
    servers(1);
    puts("]}");
}

static void idle(char **a) {
    open_watches(atoi(a[0]), a[1]);
    printf("{\"count\":%s}\n", a[0]);
    fflush(stdout);
    for (struct pollfd input = {.fd = 0, .events = POLLIN}; poll(&input, 1, 0) == 0;) turn(100);
}

int main(int argc, char **argv) {
    char unique[32];
    if (argc < 6) return 2;
    snprintf(unique, sizeof unique, "%lx", (long)(time(NULL) % 100000) * 1000 + getpid() % 1000);
    run = unique;
    port = atoi(argv[2]);
    token = argv[3];
    context = SSL_CTX_new(TLS_client_method());
    epoll_fd = epoll_create1(0);
    char **rest = argv + 4;
    if (!strcmp(argv[1], "http")) http(rest);
    else if (!strcmp(argv[1], "watch")) watch(rest);
    else if (!strcmp(argv[1], "idle")) idle(rest);
    else return 2;
    return 0;
}
