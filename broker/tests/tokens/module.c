/* A PKCS #11 module (version 2.40) with one token, to misbehave on demand. KEYCELL_TEST_MODULE says
   how. Each login is a line in the file that KEYCELL_TEST_LOG names. Without a header: each function
   has its place in the list, and what is not needed stays empty. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef unsigned long ulong_t;

enum { OK = 0, GENERAL_ERROR = 5, MECHANISM_PARAM_INVALID = 0x71, PIN_INCORRECT = 0xa0 };
enum { LOGIN_REQUIRED = 0x4, PIN_SET = 0x8, INITIALIZED = 0x400, FINAL_TRY = 0x20000, LOCKED = 0x40000 };

struct token_info {
    unsigned char label[32], manufacturer[32], model[16], serial[16];
    ulong_t flags, counts[10];
    unsigned char hardware[2], firmware[2], time[16];
};

static int is(const char *mode) {
#ifdef BEHAVIOUR
    const char *set = BEHAVIOUR;
#else
    const char *set = getenv("KEYCELL_TEST_MODULE");
#endif
    return set && strcmp(set, mode) == 0;
}

static void note(const char *text, ulong_t length) {
    const char *path = getenv("KEYCELL_TEST_LOG");
    FILE *log = path ? fopen(path, "a") : NULL;
    if (log) {
        fprintf(log, "%.*s\n", (int)length, text);
        fclose(log);
    }
}

static void attempt(const char *what, long result) {
    char line[128];
    snprintf(line, sizeof line, "%s: %s", what, result < 0 ? strerrorname_np(errno) : "done");
    note(line, strlen(line));
}

#ifdef COUNTER
/* The token counts wrong PINs in a file of its directory, as a device does in its memory: after LIMIT of
   them it is locked. A right one sets the counter back. */
enum { LIMIT = 3 };

static long wrong_pins(void) {
    struct stat counter;
    return stat(COUNTER, &counter) == 0 ? (long)counter.st_size : 0;
}

static void count_pin(int is_right) {
    int counter = open(COUNTER, O_WRONLY | O_CREAT | (is_right ? O_TRUNC : O_APPEND), 0600);
    if (!is_right && write(counter, "x", 1) != 1) abort();
    close(counter);
}

/* Who loads it is known, even if nothing is called. */
__attribute__((constructor)) static void loaded(void) { close(open(COUNTER ".loaded", O_CREAT | O_WRONLY, 0600)); }
#endif

/* What a module that was taken over would do. All of it works for root without walls. */
static void attack(void) {
    attempt("privileges", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? (errno = EPERM, -1) : 0);
    attempt("dump", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? (errno = EPERM, -1) : 0);
    attempt("trace", ptrace(PTRACE_TRACEME, 0, 0, 0));
    attempt("namespace", unshare(CLONE_NEWUTS));
    attempt("root", chroot("/"));
    attempt("time", syscall(SYS_settimeofday, NULL, NULL)); /* the C library reads what it is given */
    attempt("priority", setpriority(PRIO_PROCESS, 0, -5));
    attempt("read", open("/etc/passwd", O_RDONLY));
    attempt("write", open("/var/tmp", O_WRONLY | O_TMPFILE, 0600));
}

static ulong_t initialize(void *arguments) {
    (void)arguments;
    if (is("attack")) attack();
    if (is("hang"))
        for (;;) pause();
    if (is("hang with a child")) {
        fork();
        for (;;) pause();
    }
    if (is("crash")) abort();
    if (is("end")) _exit(0);
    if (is("close")) {
        for (int fd = 0; fd < 64; fd++) close(fd);
        for (;;) pause();
    }
    if (is("print")) {
        for (int i = 0; i < 100000; i++) puts("noise"), fputs("noise\n", stderr);
        fflush(stdout);
    }
    return is("fail") ? GENERAL_ERROR : OK;
}

static ulong_t finalize(void *reserved) {
    (void)reserved;
    if (is("crash late")) abort();
    if (is("hang late"))
        for (;;) pause();
    return OK;
}

static ulong_t get_slots(unsigned char present, ulong_t *slots, ulong_t *count) {
    (void)present;
    if (slots) slots[0] = 7, slots[1] = 8;
    *count = is("two") ? 2 : 1;
    return OK;
}

static ulong_t get_token(ulong_t slot, struct token_info *info) {
    memset(info, ' ', sizeof *info);
    memset(info->counts, 0, sizeof info->counts);
    memcpy(info->label, "fake", 4);
    memcpy(info->serial, slot == 7 ? "seven" : "eight", 5);
    info->flags = LOGIN_REQUIRED | PIN_SET | INITIALIZED;
    if (is("locked")) info->flags |= LOCKED;
    if (is("final try")) info->flags |= FINAL_TRY;
#ifdef COUNTER
    if (is("count") && wrong_pins() == LIMIT - 1) info->flags |= FINAL_TRY;
    if (is("count") && wrong_pins() >= LIMIT) info->flags |= LOCKED;
#endif
    return OK;
}

static ulong_t open_session(ulong_t slot, ulong_t flags, void *a, void *b, ulong_t *session) {
    (void)flags, (void)a, (void)b;
    *session = slot;
    return OK;
}

static ulong_t close_session(ulong_t session) { (void)session; return OK; }

static ulong_t login(ulong_t session, ulong_t user, char *pin, ulong_t length) {
    char line[64];
    (void)user;
    snprintf(line, sizeof line, "%lu %.*s", session, (int)length, pin);
    note(line, strlen(line));
    printf("the PIN is %.*s\n", (int)length, pin);
    fprintf(stderr, "the PIN is %.*s\n", (int)length, pin);
    int is_right = length == 5 && memcmp(pin, "right", 5) == 0;
#ifdef COUNTER
    if (is("count")) {
        usleep(50000); /* a device takes its time */
        count_pin(is_right);
    }
#endif
    return is_right ? OK : PIN_INCORRECT;
}

static ulong_t find_init(ulong_t session, void *template, ulong_t count) {
    (void)session, (void)template, (void)count;
    return OK;
}

static ulong_t find(ulong_t session, ulong_t *objects, ulong_t most, ulong_t *count) {
    (void)session, (void)most;
    static int found;
    objects[0] = 1;
    *count = found++ ? 0 : 1;
    return OK;
}

struct oaep { ulong_t hash, mask, source; void *label; ulong_t label_length; };
struct mechanism { ulong_t kind; struct oaep *oaep; ulong_t length; };

static ulong_t decrypt_init(ulong_t session, struct mechanism *mechanism, ulong_t key) {
    char line[128];
    struct oaep *oaep = mechanism->oaep;
    (void)session, (void)key;
    snprintf(line, sizeof line, "mechanism %lx hash %lx mask %lx source %lx label %lu",
             mechanism->kind, oaep->hash, oaep->mask, oaep->source, oaep->label_length);
    note(line, strlen(line));
    return is("parameters") ? MECHANISM_PARAM_INVALID : OK;
}

/* "Decrypts" to the serial number of its slot. Or claims that there is more than there can be. */
static ulong_t decrypt(ulong_t session, char *in, ulong_t length, char *out, ulong_t *size) {
    (void)in, (void)length;
    *size = is("flood") ? (ulong_t)1 << 60 : 5;
    if (out) memcpy(out, session == 7 ? "seven" : "eight", 5);
    return OK;
}

static struct {
    unsigned char version[2];
    void *functions[68];
} list = { { 2, 40 }, { 0 } };

ulong_t C_GetFunctionList(void **result) {
    list.functions[0] = initialize;
    list.functions[1] = finalize;
    list.functions[4] = get_slots;
    list.functions[6] = get_token;
    list.functions[12] = open_session;
    list.functions[13] = close_session;
    list.functions[18] = login;
    list.functions[26] = find_init;
    list.functions[27] = find;
    list.functions[28] = close_session;
    list.functions[33] = decrypt_init;
    list.functions[34] = decrypt;
    *result = &list;
    return OK;
}
