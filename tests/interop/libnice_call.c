/* Two ICE agents of libnice in the mode of Office Communicator 2007 R2, that may use relayed candidates alone, exchange
 * datagrams through one server. Says in one line of JSON what happened.
 *
 *   libnice_call HOST PORT udp|tcp|tls USER PASSWORD COUNT HOLD OWN-ADDRESS
 *
 * USER and PASSWORD are base64, as libnice wants them in this mode. Half of the COUNT datagrams of each side leave at
 * once, the other half HOLD seconds later. Exit code 0 if all arrived, 3 if no relay was to be had, 1 else.
 */

#include <nice/agent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMPONENT 1
/* Datagrams of one side that leave in one millisecond. */
#define BURST 4

typedef struct {
    NiceAgent *agent;
    guint stream;
    gboolean gathered, ready;
    guint sent, got, twice;
    guint8 *seen;
} End;

static GMainLoop *loop;
static End ends[2];
static guint count, hold_s, half_waits;
static gint64 began, gathered_at, ready_at;
static const char *failure;

static End *end_of(NiceAgent *agent) { return agent == ends[0].agent ? &ends[0] : &ends[1]; }

static void fail(const char *why) {
    if (!failure)
        failure = why;
    g_main_loop_quit(loop);
}

static guint relayed_candidates(End *end) {
    guint relayed = 0;
    GSList *list = nice_agent_get_local_candidates(end->agent, end->stream, COMPONENT);
    for (GSList *at = list; at; at = at->next)
        relayed += ((NiceCandidate *)at->data)->type == NICE_CANDIDATE_TYPE_RELAYED;
    g_slist_free_full(list, (GDestroyNotify)nice_candidate_free);
    return relayed;
}

/* What signalling would carry. */
static void tell(End *from, End *to) {
    gchar *name = NULL, *password = NULL;
    nice_agent_get_local_credentials(from->agent, from->stream, &name, &password);
    nice_agent_set_remote_credentials(to->agent, to->stream, name, password);
    g_free(name);
    g_free(password);
    GSList *list = nice_agent_get_local_candidates(from->agent, from->stream, COMPONENT);
    nice_agent_set_remote_candidates(to->agent, to->stream, COMPONENT, list);
    g_slist_free_full(list, (GDestroyNotify)nice_candidate_free);
}

static void on_gathered(NiceAgent *agent, guint stream, gpointer data) {
    End *end = end_of(agent);
    (void)stream;
    (void)data;
    end->gathered = TRUE;
    if (relayed_candidates(end) == 0)
        return fail("no relayed candidate");
    if (ends[0].gathered && ends[1].gathered) {
        gathered_at = g_get_monotonic_time();
        tell(&ends[0], &ends[1]);
        tell(&ends[1], &ends[0]);
    }
}

static gboolean go_on(gpointer data);

static gboolean send_some(gpointer data) {
    guint half = count / 2;
    guint goal = half_waits ? half : count;
    (void)data;
    for (int which = 0; which < 2; which++) {
        End *end = &ends[which];
        for (int burst = 0; burst < BURST && end->sent < goal; burst++) {
            gchar payload[172];
            memset(payload, 'a' + which, sizeof payload);
            guint32 number = GUINT32_TO_BE(end->sent);
            memcpy(payload, &number, sizeof number);
            gint left = nice_agent_send(end->agent, end->stream, COMPONENT, sizeof payload, payload);
            if (left != (gint)sizeof payload)
                break;
            end->sent++;
        }
    }
    if (ends[0].sent < goal || ends[1].sent < goal)
        return G_SOURCE_CONTINUE;
    if (half_waits) {
        half_waits = 0;
        g_timeout_add_seconds(hold_s, go_on, NULL);
    }
    return G_SOURCE_REMOVE;
}

static gboolean go_on(gpointer data) {
    (void)data;
    g_timeout_add(1, send_some, NULL);
    return G_SOURCE_REMOVE;
}

static void on_state(NiceAgent *agent, guint stream, guint component, guint state, gpointer data) {
    (void)stream;
    (void)component;
    (void)data;
    if (state == NICE_COMPONENT_STATE_FAILED)
        return fail("a component failed");
    if (state != NICE_COMPONENT_STATE_READY || end_of(agent)->ready)
        return;
    end_of(agent)->ready = TRUE;
    if (ends[0].ready && ends[1].ready) {
        ready_at = g_get_monotonic_time();
        g_timeout_add(1, send_some, NULL);
    }
}

/* What libnice takes for data by mistake. In this mode it makes the FINGERPRINT of its checks with one table and judges it
 * with another, so one in a few of its own checks is none to it. And over TCP it takes the first two bytes of the answer to
 * its own refresh for the length of what follows (RFC 4571). */
static gboolean is_its_own(const gchar *bytes, guint len) {
    static const guint8 check[4] = {0x21, 0x12, 0xa4, 0x42};
    static const guint8 answer[8] = {0x00, 0x0f, 0x00, 0x04, 0x72, 0xc6, 0x4b, 0xc6};
    if (len >= 26 && !memcmp(bytes + 18, answer, sizeof answer))
        return TRUE;
    return len >= 20 && (guint8)bytes[0] <= 1 && !memcmp(bytes + 4, check, sizeof check);
}

static void on_data(NiceAgent *agent, guint stream, guint component, guint len, gchar *bytes, gpointer data) {
    End *end = end_of(agent);
    guint32 number;
    (void)stream;
    (void)component;
    (void)data;
    if (is_its_own(bytes, len))
        return;
    gchar expected = 'a' + (end == &ends[0] ? 1 : 0);
    if (len != 172 || bytes[4] != expected || bytes[171] != expected)
        return fail("a datagram came otherwise than it left");
    memcpy(&number, bytes, sizeof number);
    number = GUINT32_FROM_BE(number);
    if (number >= count)
        return fail("a datagram that nobody sent");
    end->twice += end->seen[number];
    end->got += !end->seen[number];
    end->seen[number] = 1;
    if (ends[0].got == count && ends[1].got == count)
        g_main_loop_quit(loop);
}

static gboolean on_timeout(gpointer data) {
    (void)data;
    fail("time is up");
    return G_SOURCE_REMOVE;
}

static void open_end(End *end, gboolean controlling, char **argv) {
    NiceRelayType type = NICE_RELAY_TYPE_TURN_UDP;
    NiceAddress local;
    if (!strcmp(argv[3], "tcp"))
        type = NICE_RELAY_TYPE_TURN_TCP;
    else if (!strcmp(argv[3], "tls"))
        type = NICE_RELAY_TYPE_TURN_TLS;
    end->agent = nice_agent_new(g_main_loop_get_context(loop), NICE_COMPATIBILITY_OC2007R2);
    g_object_set(end->agent, "controlling-mode", controlling, "upnp", FALSE, "force-relay", TRUE, "ice-tcp",
                 type != NICE_RELAY_TYPE_TURN_UDP, "ice-udp", TRUE, NULL);
    nice_address_init(&local);
    nice_address_set_from_string(&local, argv[8]);
    nice_agent_add_local_address(end->agent, &local);
    end->stream = nice_agent_add_stream(end->agent, COMPONENT);
    nice_agent_set_relay_info(end->agent, end->stream, COMPONENT, argv[1], atoi(argv[2]), argv[4], argv[5], type);
    g_signal_connect(end->agent, "candidate-gathering-done", G_CALLBACK(on_gathered), NULL);
    g_signal_connect(end->agent, "component-state-changed", G_CALLBACK(on_state), NULL);
    nice_agent_attach_recv(end->agent, end->stream, COMPONENT, g_main_loop_get_context(loop), on_data, NULL);
    end->seen = g_malloc0(count);
    if (!nice_agent_gather_candidates(end->agent, end->stream))
        fail("gathering does not begin");
}

static gboolean begin(gpointer data) {
    char **argv = data;
    began = g_get_monotonic_time();
    open_end(&ends[0], TRUE, argv);
    open_end(&ends[1], FALSE, argv);
    return G_SOURCE_REMOVE;
}

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr, "usage: libnice_call HOST PORT udp|tcp|tls USER PASSWORD COUNT HOLD OWN-ADDRESS\n");
        return 2;
    }
    count = (guint)atoi(argv[6]);
    hold_s = (guint)atoi(argv[7]);
    half_waits = hold_s > 0;
    loop = g_main_loop_new(NULL, FALSE);
    g_idle_add(begin, argv);
    g_timeout_add_seconds(30 + hold_s, on_timeout, NULL);
    g_main_loop_run(loop);
    gint64 ended = g_get_monotonic_time();
    gboolean lost = ends[0].got != count || ends[1].got != count;
    printf("{\"error\": \"%s\", \"sent\": [%u, %u], \"got\": [%u, %u], \"twice\": %u, \"gather_ms\": %ld, "
           "\"connect_ms\": %ld, \"all_ms\": %ld}\n",
           failure ? failure : "", ends[0].sent, ends[1].sent, ends[0].got, ends[1].got,
           ends[0].twice + ends[1].twice, gathered_at ? (long)((gathered_at - began) / 1000) : -1L,
           ready_at ? (long)((ready_at - gathered_at) / 1000) : -1L, (long)((ended - began) / 1000));
    for (int which = 0; which < 2; which++)
        if (ends[which].agent)
            nice_agent_remove_stream(ends[which].agent, ends[which].stream);
    fflush(stdout);
    if (failure && !strcmp(failure, "no relayed candidate"))
        return 3;
    return failure || lost ? 1 : 0;
}
