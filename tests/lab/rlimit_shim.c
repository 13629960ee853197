/* Preloaded into the sanlock daemon of a lab host.
 *
 * 1. sanlock 3.8 exits when setrlimit(RLIMIT_MEMLOCK or RLIMIT_RTPRIO) to infinity is refused,
 *    as it is wherever CAP_SYS_RESOURCE is not to be had.  A refused raise passes here: the
 *    limits that are, stay.
 * 2. LAB_SANLOCK_SPEED=K: the daemon's monotonic clock runs K times as fast, so that all its
 *    time-outs keep their production proportions (io_timeout 10 and so on) in 1/K of the time.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NANOSECONDS 1000000000LL

static long long speed(void)
{
	static long long known;
	if (!known) {
		const char *wanted = getenv("LAB_SANLOCK_SPEED");
		known = wanted && atoi(wanted) > 0 ? atoi(wanted) : 1;
	}
	return known;
}

int setrlimit(__rlimit_resource_t which, const struct rlimit *limit)
{
	syscall(SYS_prlimit64, 0, which, limit, 0);
	return 0;
}

int setrlimit64(__rlimit_resource_t which, const struct rlimit64 *limit)
{
	syscall(SYS_prlimit64, 0, which, limit, 0);
	return 0;
}

int clock_gettime(clockid_t which, struct timespec *now)
{
	int failed = syscall(SYS_clock_gettime, which, now);
	if (!failed && speed() > 1 && which == CLOCK_MONOTONIC) {
		long long fast = (now->tv_sec * NANOSECONDS + now->tv_nsec) * speed();
		now->tv_sec = fast / NANOSECONDS;
		now->tv_nsec = fast % NANOSECONDS;
	}
	return failed;
}

static void nap(long long nanoseconds)
{
	struct timespec span = { nanoseconds / NANOSECONDS, nanoseconds % NANOSECONDS };
	syscall(SYS_nanosleep, &span, &span);
}

unsigned int sleep(unsigned int seconds)
{
	nap(seconds * NANOSECONDS / speed());
	return 0;
}

int usleep(useconds_t microseconds)
{
	nap(microseconds * 1000LL / speed());
	return 0;
}
