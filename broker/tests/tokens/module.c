/* A PKCS #11 module (version 2.40) with one token, to misbehave on demand. KEYCELL_TEST_MODULE says
   how. Each login is a line in the file that KEYCELL_TEST_LOG names. Without a header: each function
   has its place in the list, and what is not needed stays empty. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
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

/* Of systemd's @clock, @debug, @module, @mount, @raw-io, @reboot, @swap, @keyring, and what is like them. */
static const long forbidden[] = {
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_process_madvise, SYS_kcmp, SYS_pidfd_open,
    SYS_perf_event_open, SYS_add_key, SYS_request_key, SYS_keyctl, SYS_name_to_handle_at,
    SYS_open_by_handle_at, SYS_fanotify_init, SYS_quotactl, SYS_init_module, SYS_finit_module,
    SYS_delete_module, SYS_bpf, SYS_kexec_load, SYS_kexec_file_load, SYS_userfaultfd, SYS_io_uring_setup,
    SYS_mount, SYS_umount2, SYS_mount_setattr, SYS_move_mount, SYS_open_tree, SYS_fsopen, SYS_fsconfig,
    SYS_fsmount, SYS_fspick, SYS_pivot_root, SYS_chroot, SYS_setns, SYS_unshare, SYS_swapon, SYS_swapoff,
    SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex, SYS_sethostname,
    SYS_setdomainname, SYS_reboot, SYS_acct, SYS_syslog, SYS_vhangup, 448 /* process_mrelease */,
#ifdef __x86_64__
    SYS_iopl, SYS_ioperm, SYS_modify_ldt,
#endif
};

/* A child that ends at once. */
static long split(long flags) {
    long child = syscall(SYS_clone, flags, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    return child;
}

static int memory_of(pid_t process) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/mem", process);
    return open(path, O_RDONLY);
}

/* What a module that was taken over would do. */
static void attack(void) {
    struct rlimit its;
    attempt("privileges", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? (errno = EPERM, -1) : 0);
    attempt("dump", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? (errno = EPERM, -1) : 0);
    attempt("trace", ptrace(PTRACE_TRACEME, 0, 0, 0));
    attempt("namespace", unshare(CLONE_NEWUTS));
    attempt("root", chroot("/"));
    attempt("time", syscall(SYS_settimeofday, NULL, NULL)); /* the C library reads what it is given */
    attempt("priority", setpriority(PRIO_PROCESS, 0, -5));
    attempt("namespace by clone", split(CLONE_NEWUTS | SIGCHLD));
    attempt("user namespace by clone", split(CLONE_NEWUSER | CLONE_NEWNET | SIGCHLD));
    attempt("namespace by clone, upper half", split(1L << 32 | CLONE_NEWNS | SIGCHLD));
    attempt("clone3", syscall(SYS_clone3, NULL, 0));
    attempt("process", split(SIGCHLD));
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
        char name[32];
        snprintf(name, sizeof name, "call %ld", forbidden[i]);
        attempt(name, syscall(forbidden[i], -1L, -1L, -1L, -1L, -1L, -1L));
    }
    attempt("newer call", syscall(600, 0, 0, 0, 0, 0, 0));
#ifdef __x86_64__
    attempt("x32 getpid", syscall(0x40000000L | SYS_getpid));
    attempt("x32 ptrace", syscall(0x40000000L | 521, 0, 0, 0, 0));
#endif
    attempt("limit of the broker", prlimit(getppid(), RLIMIT_NOFILE, NULL, &its));
    attempt("own limit", getrlimit(RLIMIT_NOFILE, &its));
    attempt("signal to init", kill(1, 0));
    attempt("core pattern", open("/proc/sys/kernel/core_pattern", O_WRONLY));
    attempt("uevent helper", open("/sys/kernel/uevent_seqnum", O_WRONLY));
    attempt("sysrq", open("/proc/sysrq-trigger", O_WRONLY));
    attempt("memory of init", open("/proc/1/mem", O_RDONLY));
    attempt("memory of the broker", memory_of(getppid()));
    attempt("environment of init", open("/proc/1/environ", O_RDONLY));
    attempt("shadow", open("/etc/shadow", O_RDONLY));
    attempt("shadow, to write", open("/etc/shadow", O_WRONLY));
    attempt("private keys", open("/etc/ssl/private", O_RDONLY | O_DIRECTORY));
    attempt("certificates", open("/etc/ssl/certs", O_RDONLY | O_DIRECTORY));
    attempt("own status", open("/proc/self/status", O_RDONLY));
    attempt("own name", open("/proc/self/comm", O_WRONLY));
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
    if (is("fail to begin")) return GENERAL_ERROR;
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
