// A program to be traced. It prints its process id and where its counter lies, waits for a byte on its
// standard input, and then does what its first argument says.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

volatile unsigned counter;
static char **arguments;

static void say(const char *what, long number) {
    printf("%s %ld\n", what, number);
    fflush(stdout);
}

static void await_byte(void) {
    char byte;
    while (read(0, &byte, 1) < 0 && errno == EINTR) {
    }
}

static void count(int signal) {
    (void)signal;
    counter++;
}

static void forever(void) {
    for (;;) {
        pause();
    }
}

// Runs this program again, as another life: `subject NEXT...`. Or the program of SUBJECT_NEXT.
static void run_next(void) {
    const char *next = getenv("SUBJECT_NEXT");
    // Not /proc/self: a process whose leader has ended has none there.
    execv(next ? next : "/proc/thread-self/exe", arguments);
    perror("execv");
    _exit(120);
}

static void *exit_from_thread(void *code) {
    counter = 42;
    exit((int)(long)code);
}

static void *exec_from_thread(void *unused) {
    (void)unused;
    counter = 42;
    run_next();
    return 0;
}

static void *exec_from_known_thread(void *unused) {
    say("thread", syscall(SYS_gettid));
    await_byte();
    return exec_from_thread(unused);
}

// Goes on when the leader is gone, until it is told to end.
static void *outlive(void *code) {
    await_byte();
    counter = 43;
    exit((int)(long)code);
}

static void *exec_on_byte(void *unused) {
    (void)unused;
    await_byte();
    counter = 43;
    run_next();
    return 0;
}

static void *start_and_join(void *(*body)(void *), void *argument) {
    pthread_t thread;
    pthread_create(&thread, 0, body, argument);
    pthread_join(thread, 0);
    return 0;
}

static void start(void *(*body)(void *), void *argument) {
    pthread_t thread;
    pthread_create(&thread, 0, body, argument);
}

static void *idle(void *unused) {
    (void)unused;
    forever();
    return 0;
}

// Runs `subject ARGUMENTS...` and says how it ended, as wait tells a parent.
static int launch(void) {
    pid_t child = fork();
    if (child == 0) {
        run_next();
    }
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    say("status", status);
    return 0;
}

// As a shell: sees the stops of its child, too.
static int observe(void) {
    pid_t child = fork();
    if (child == 0) {
        run_next();
    }
    for (;;) {
        int status;
        if (waitpid(child, &status, WUNTRACED | WCONTINUED) < 0) {
            continue;
        }
        if (WIFSTOPPED(status)) {
            say("stopped", WSTOPSIG(status));
        } else if (WIFCONTINUED(status)) {
            say("continued", 0);
        } else {
            say("status", status);
            return 0;
        }
    }
}

int main(int argc, char **argv) {
    arguments = argv + 1;
    const char *what = argc > 1 ? argv[1] : "";
    long number = argc > 2 ? atol(argv[2]) : 0;
    if (!strcmp(what, "launch")) {
        return launch();
    }
    if (!strcmp(what, "observe")) {
        return observe();
    }
    alarm(120); // Nothing stays behind when a test fails.
    printf("ready %d %lu\n", getpid(), (unsigned long)&counter);
    fflush(stdout);
    await_byte();
    counter = 42;
    if (!strcmp(what, "exit")) {
        exit((int)number);
    } else if (!strcmp(what, "_exit")) {
        _exit((int)number);
    } else if (!strcmp(what, "return")) {
        return (int)number;
    } else if (!strcmp(what, "raise")) {
        raise((int)number);
        forever();
    } else if (!strcmp(what, "segv")) {
        *(volatile int *)8 = 1;
    } else if (!strcmp(what, "abort")) {
        abort();
    } else if (!strcmp(what, "wait")) {
        say("waiting", 0);
        forever();
    } else if (!strcmp(what, "handle")) {
        signal((int)number, count);
        say("waiting", 0);
        while (counter == 42) {
            pause();
        }
        exit(3);
    } else if (!strcmp(what, "exit-thread")) {
        start_and_join(exit_from_thread, (void *)number);
    } else if (!strcmp(what, "kill-threads")) {
        for (int i = 0; i < 8; i++) {
            start(idle, 0);
        }
        say("waiting", 0);
        forever();
    } else if (!strcmp(what, "leader-ends")) {
        start(outlive, (void *)number);
        pthread_exit(0);
    } else if (!strcmp(what, "leader-ends-exec")) {
        start(exec_on_byte, 0);
        pthread_exit(0);
    } else if (!strcmp(what, "leader-ends-other-exec")) {
        start(idle, 0);
        start(exec_on_byte, 0);
        pthread_exit(0);
    } else if (!strcmp(what, "exec")) {
        run_next();
    } else if (!strcmp(what, "exec-thread")) {
        start_and_join(exec_from_thread, 0);
    } else if (!strcmp(what, "exec-known-thread")) {
        start_and_join(exec_from_known_thread, 0);
    } else if (!strcmp(what, "orphan")) {
        if (fork() == 0) {
            run_next();
        }
        exit(0);
    } else if (!strcmp(what, "vfork")) {
        int status;
        pid_t child = vfork();
        if (child == 0) {
            run_next();
        }
        waitpid(child, &status, 0);
        say("child", status);
        exit(0);
    } else if (!strcmp(what, "run")) {
        for (;;) {
            counter++;
        }
    } else if (!strcmp(what, "storm")) {
        signal(SIGUSR1, count);
        counter = 0;
        for (long i = 0; i < number; i++) {
            raise(SIGUSR1);
        }
        say("counted", counter);
        exit(0);
    } else if (!strcmp(what, "send")) {
        for (long i = 0; i < number; i++) {
            while (kill(atoi(argv[3]), atoi(argv[4])) < 0 && errno == EAGAIN) {
            }
        }
        exit(0);
    } else if (!strcmp(what, "queue")) {
        struct sigaction action = {.sa_handler = count};
        sigaction(SIGRTMIN + 3, &action, 0);
        counter = 0;
        say("waiting", SIGRTMIN + 3);
        while (counter < number) {
            pause();
        }
        say("counted", counter);
        exit(0);
    }
    return 121;
}
