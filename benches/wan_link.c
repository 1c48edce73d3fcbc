/* A wide-area link between two network namespaces, for wan.py.
 *
 *     wan_link ROUND_TRIP_MS MBIT_PER_SECOND LOSS_PERCENT QUEUE_MS SEED
 *
 * Creates two network namespaces, each with a TUN device (10.90.0.1 is near, 10.90.0.2 far), and carries the packets between
 * them. The kernel's own TCP runs at both ends. In each direction a packet
 *
 *   - is dropped if the packets before it need more than QUEUE_MS to be sent (a drop-tail queue),
 *   - then takes its length at the link's rate to be sent (IP packets; there is no link-layer header),
 *   - then is lost with a chance of LOSS_PERCENT,
 *   - then travels for half of the round trip.
 *
 * The first line of output is "NEAR FAR", the paths of the namespaces for `nsenter --net=`. Each line of input is answered
 * by a line of JSON with the counts so far. At the end of input the program ends. The namespaces have no names, so they
 * vanish with this program and the programs that still run inside.
 *
 * Needs Linux, root and /dev/net/tun. It carries 500 Mbit/s with less than half of a core.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    MTU = 1500,
    /* Packets read from one side before the other side has its turn. */
    BURST = 64,
    /* Packets that a device holds until they are read. The kernel's 500 would overflow in the burst of a starting connection
     * while this program waits for a core. */
    DEVICE_QUEUE = 10000,
    PORTS = 1 << 16,
};

/* Packets are delivered in groups this far apart, as by a network card with interrupt coalescing. At 500 Mbit/s a packet is
 * due every 24 microseconds, and a wake-up for each would cost more than the packet. */
static const int64_t TICK_NS = 100 * 1000;

typedef struct Packet {
    struct Packet *next;
    int64_t due;
    int length;
    uint8_t bytes[MTU];
} Packet;

typedef struct {
    int from, to;
    /* When the last packet in the queue will have been sent. */
    int64_t sent_at;
    /* The packets on their way, first come first served. */
    Packet *first, *last;
    uint64_t packets, bytes, lost, dropped;
} Direction;

/* Each client port is one connection at a time, for there is one server port. */
typedef struct {
    bool known;
    /* The client has sent a FIN or RST. */
    bool closed;
    uint32_t start, acknowledged;
} Connection;

typedef struct {
    int64_t travel, queue;
    double ns_per_byte, loss;
    uint64_t random;
    Direction down, up;
    Connection connections[PORTS];
    /* TCP payload that was carried towards the client; that the client's kernel acknowledged; that was carried after the
     * client had closed the connection. What is in neither of the last two was carried twice. */
    uint64_t payload, acknowledged, after_close;
    int64_t late;
    Packet *unused;
} Link;

static void fail(const char *format, ...) {
    int error = errno;
    va_list values;
    va_start(values, format);
    fputs("wan_link: ", stderr);
    vfprintf(stderr, format, values);
    fprintf(stderr, ": %s\n", strerror(error));
    va_end(values);
    exit(1);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* SplitMix64: the next number between 0 and 1. */
static double chance(Link *link) {
    uint64_t mixed = link->random += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((mixed ^ mixed >> 31) >> 11) * 0x1p-53;
}

static void configure(int socket, unsigned long request, struct ifreq *settings) {
    if (ioctl(socket, request, settings) < 0) fail("cannot configure %s (request %#lx)", settings->ifr_name, request);
}

static void bring_up(int socket, const char *device) {
    struct ifreq settings = {.ifr_flags = IFF_UP};
    strcpy(settings.ifr_name, device);
    configure(socket, SIOCSIFFLAGS, &settings);
}

static void set_address(int socket, const char *device, unsigned long request, const char *address) {
    struct ifreq settings = {0};
    strcpy(settings.ifr_name, device);
    struct sockaddr_in *value = (struct sockaddr_in *)&settings.ifr_addr;
    value->sin_family = AF_INET;
    inet_pton(AF_INET, address, &value->sin_addr);
    configure(socket, request, &settings);
}

/* Moves this program into a new network namespace and returns its TUN device. */
static int new_end(const char *address, int *namespace) {
    if (unshare(CLONE_NEWNET) < 0) fail("cannot create a network namespace");
    /* Other programs enter it through this descriptor. */
    *namespace = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (*namespace < 0) fail("/proc/thread-self/ns/net");
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (device < 0) fail("/dev/net/tun");
    struct ifreq settings = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    strcpy(settings.ifr_name, "wan");
    configure(device, TUNSETIFF, &settings);

    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0) fail("cannot open a socket");
    set_address(control, "wan", SIOCSIFADDR, address);
    set_address(control, "wan", SIOCSIFNETMASK, "255.255.255.0");
    settings.ifr_mtu = MTU;
    configure(control, SIOCSIFMTU, &settings);
    settings.ifr_qlen = DEVICE_QUEUE;
    configure(control, SIOCSIFTXQLEN, &settings);
    bring_up(control, "wan");
    bring_up(control, "lo");
    close(control);
    return device;
}

static uint32_t number_at(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Finds the TCP header of an IPv4 packet, and the length of the payload that follows it. */
static const uint8_t *tcp_header(const Packet *packet, int *payload) {
    const uint8_t *ip = packet->bytes;
    if (packet->length < 40 || ip[0] >> 4 != 4 || ip[9] != IPPROTO_TCP) return NULL;
    int header = (ip[0] & 15) * 4;
    if (header + 20 > packet->length) return NULL;
    const uint8_t *tcp = ip + header;
    *payload = (ip[2] << 8 | ip[3]) - header - (tcp[12] >> 4) * 4;
    return tcp;
}

enum { FIN = 0x01, SYN = 0x02, RST = 0x04, ACK = 0x10 };

/* Counts what the client acknowledges when it sends the acknowledgement, whatever becomes of that on its way. */
static void count_acknowledged(Link *link, const Packet *packet) {
    int payload;
    const uint8_t *tcp = tcp_header(packet, &payload);
    if (!tcp) return;
    Connection *connection = &link->connections[tcp[0] << 8 | tcp[1]];
    if (tcp[13] & (FIN | RST)) connection->closed = true;
    if (!(tcp[13] & ACK)) return;
    uint32_t number = number_at(tcp + 8);
    int32_t more = (int32_t)(number - connection->acknowledged);
    if (!connection->known || more <= 0) return;
    connection->acknowledged = number;
    link->acknowledged += (uint32_t)more;
}

static void count_payload(Link *link, const Packet *packet) {
    int payload;
    const uint8_t *tcp = tcp_header(packet, &payload);
    if (!tcp) return;
    if (tcp[13] & SYN) {
        Connection *connection = &link->connections[tcp[2] << 8 | tcp[3]];
        uint32_t start = number_at(tcp + 4) + 1;
        /* Not again if the SYN is sent twice. */
        if (!connection->known || connection->start != start)
            *connection = (Connection){.known = true, .start = start, .acknowledged = start};
    } else if (payload > 0) {
        link->payload += (uint64_t)payload;
        if (link->connections[tcp[2] << 8 | tcp[3]].closed) link->after_close += (uint64_t)payload;
    }
}

static Packet *new_packet(Link *link) {
    Packet *packet = link->unused;
    if (packet) {
        link->unused = packet->next;
    } else if (!(packet = malloc(sizeof *packet))) {
        fail("out of memory");
    }
    return packet;
}

static void put_back(Link *link, Packet *packet) {
    packet->next = link->unused;
    link->unused = packet;
}

/* Queues, loses or drops the packets that wait at one end. Returns whether there may be more. */
static bool take_in(Link *link, Direction *direction) {
    int64_t time = now();
    for (int count = 0; count < BURST; count++) {
        Packet *packet = new_packet(link);
        ssize_t length = read(direction->from, packet->bytes, sizeof packet->bytes);
        if (length <= 0) {
            put_back(link, packet);
            if (length < 0 && errno != EAGAIN && errno != EINTR) fail("cannot read a packet");
            return false;
        }
        packet->length = (int)length;
        if (direction == &link->up) count_acknowledged(link, packet);
        int64_t start = direction->sent_at > time ? direction->sent_at : time;
        if (start - time > link->queue) {
            direction->dropped++;
            put_back(link, packet);
            continue;
        }
        direction->sent_at = start + (int64_t)((double)length * link->ns_per_byte);
        if (link->loss > 0 && chance(link) < link->loss) {
            direction->lost++;
            put_back(link, packet);
            continue;
        }
        packet->due = direction->sent_at + link->travel;
        packet->next = NULL;
        if (direction->first) {
            direction->last->next = packet;
        } else {
            direction->first = packet;
        }
        direction->last = packet;
    }
    return true;
}

static void deliver(Link *link, Direction *direction) {
    int64_t time = now();
    while (direction->first && direction->first->due <= time) {
        Packet *packet = direction->first;
        direction->first = packet->next;
        if (time - packet->due > link->late) link->late = time - packet->due;
        /* Before the write: the answer could be read next. */
        if (direction == &link->down) count_payload(link, packet);
        if (write(direction->to, packet->bytes, (size_t)packet->length) < 0) fail("cannot write a packet");
        direction->packets++;
        direction->bytes += (uint64_t)packet->length;
        put_back(link, packet);
    }
}

/* Answers the lines of input. Returns false at the end of input. */
static bool answer(Link *link) {
    char input[64];
    ssize_t length = read(STDIN_FILENO, input, sizeof input);
    if (length <= 0) return length < 0 && errno == EINTR;
    printf("{\"packets\": %ju, \"bytes\": %ju, \"payload\": %ju, \"acknowledged\": %ju, \"after_close\": %ju, "
           "\"lost\": %ju, \"dropped\": %ju, \"late_ms\": %.3f}\n",
           (uintmax_t)(link->down.packets + link->up.packets), (uintmax_t)link->down.bytes, (uintmax_t)link->payload,
           (uintmax_t)link->acknowledged, (uintmax_t)link->after_close, (uintmax_t)(link->down.lost + link->up.lost),
           (uintmax_t)(link->down.dropped + link->up.dropped), (double)link->late / 1e6);
    fflush(stdout);
    link->late = 0;
    return true;
}

static int64_t next_due(const Link *link) {
    int64_t due = INT64_MAX;
    if (link->down.first) due = link->down.first->due;
    if (link->up.first && link->up.first->due < due) due = link->up.first->due;
    return due;
}

static struct timespec duration(int64_t nanoseconds) {
    return (struct timespec){.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
}

static void carry(Link *link) {
    struct pollfd inputs[] = {
        {.fd = STDIN_FILENO, .events = POLLIN},
        {.fd = link->down.from, .events = POLLIN},
        {.fd = link->up.from, .events = POLLIN},
    };
    for (;;) {
        bool more = take_in(link, &link->down);
        more |= take_in(link, &link->up);
        deliver(link, &link->down);
        deliver(link, &link->up);
        int64_t due = next_due(link), time = now();
        bool soon = due <= time + TICK_NS;
        if (soon && !more) {
            struct timespec tick = duration(TICK_NS);
            nanosleep(&tick, NULL);
        }
        /* A packet that arrives ends the wait, but not that of a tick. */
        bool idle = !soon && !more;
        struct timespec wait = duration(idle ? due - time : 0);
        int ready = ppoll(inputs, idle ? 3 : 1, idle && due == INT64_MAX ? NULL : &wait, NULL);
        if (ready < 0 && errno != EINTR) fail("cannot wait");
        if (ready > 0 && inputs[0].revents && !answer(link)) return;
    }
}

int main(int count, char **arguments) {
    static Link link;
    if (count != 6) {
        fputs("wan_link ROUND_TRIP_MS MBIT_PER_SECOND LOSS_PERCENT QUEUE_MS SEED\n", stderr);
        return 2;
    }
    link.travel = (int64_t)(atof(arguments[1]) / 2 * 1e6);
    link.ns_per_byte = 8000 / atof(arguments[2]);
    link.loss = atof(arguments[3]) / 100;
    link.queue = (int64_t)(atof(arguments[4]) * 1e6);
    link.random = strtoull(arguments[5], NULL, 10);
    int near_namespace, far_namespace;
    int far = new_end("10.90.0.2", &far_namespace);
    int near = new_end("10.90.0.1", &near_namespace);
    link.down.from = link.up.to = far;
    link.down.to = link.up.from = near;
    /* A sleep ends when it should, and this program runs before those that it serves. The programs do not inherit that. */
    prctl(PR_SET_TIMERSLACK, 1000UL);
    struct sched_param priority = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_RR, &priority) < 0) setpriority(PRIO_PROCESS, 0, -20);
    printf("/proc/%d/fd/%d /proc/%d/fd/%d\n", (int)getpid(), near_namespace, (int)getpid(), far_namespace);
    fflush(stdout);
    carry(&link);
    return 0;
}
