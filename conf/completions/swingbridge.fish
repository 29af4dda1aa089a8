# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_swingbridge_global_optspecs
    string join \n h/help V/version
end

function __fish_swingbridge_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_swingbridge_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_swingbridge_using_subcommand
    set -l cmd (__fish_swingbridge_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c swingbridge -n "__fish_swingbridge_needs_command" -s h -l help -d 'Print help'
complete -c swingbridge -n "__fish_swingbridge_needs_command" -s V -l version -d 'Print version'
complete -c swingbridge -n "__fish_swingbridge_needs_command" -f -a "serve" -d 'Run the relay'
complete -c swingbridge -n "__fish_swingbridge_needs_command" -f -a "check" -d 'Look for mistakes in a configuration file'
complete -c swingbridge -n "__fish_swingbridge_needs_command" -f -a "credential" -d 'Make a time-limited credential'
complete -c swingbridge -n "__fish_swingbridge_needs_command" -f -a "load" -d 'Load a TURN server with calls, and tell how it fares'
complete -c swingbridge -n "__fish_swingbridge_needs_command" -f -a "testbed" -d 'A laboratory for ICE: clients behind NATs, and a server that misbehaves on request'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand serve" -l config -d 'The configuration file [default: embedded defaults that run anywhere]' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand serve" -l state-dir -d 'Where is kept what outlives the process: the generated secret when there is no file, certificates of [tls.acme]' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand serve" -l log-format -d 'How log lines are written, whatever the file says' -r -f -a "text\t'For people'
json\t'An object on each line'"
complete -c swingbridge -n "__fish_swingbridge_using_subcommand serve" -l log-level -d 'The least important log lines written, whatever the file says' -r -f -a "error\t'What needs a person'
warn\t'What may need one'
info\t'What happened'
debug\t'How it happened, with client addresses'
trace\t'Everything'"
complete -c swingbridge -n "__fish_swingbridge_using_subcommand serve" -l format -d 'For people or for programs; of what --explain-path prints' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c swingbridge -n "__fish_swingbridge_using_subcommand serve" -l dev-tls -d 'Make a self-signed certificate, so that TLS can be tried'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand serve" -l explain-path -d 'Print which paths packets could take on this machine, and what is in the way of the others, without serving'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand check" -l peer -d 'A peer to judge by the file\'s rules' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand check" -l format -d 'For people or for programs' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c swingbridge -n "__fish_swingbridge_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand credential" -l secret -d 'The secret that the server knows; visible to other users of this machine' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand credential" -l secret-file -d 'A file that holds the secret; without both, the environment variable SWINGBRIDGE_SECRET' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand credential" -l user -d 'Whom the credential is for; quotas count by this name' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand credential" -l ttl -d 'How long it is good: 90s, 30m, 8h. Servers take 8h at most' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand credential" -l mac -d 'The MAC that makes the password. Every server of this kind takes sha1; Swingbridge takes both' -r -f -a "sha1\t'HMAC-SHA1'
sha256\t'HMAC-SHA256'"
complete -c swingbridge -n "__fish_swingbridge_using_subcommand credential" -l format -d 'How it is written' -r -f -a "text\t'For people'
json\t'For programs'
ice-servers\t'For `new RTCPeerConnection({iceServers: ...})`'"
complete -c swingbridge -n "__fish_swingbridge_using_subcommand credential" -l host -d 'The server\'s name or address as clients reach it, with a port unless that is 3478; for ice-servers' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand credential" -l key1-file -d 'A file that holds the first key; without it, the environment variable SWINGBRIDGE_MRAS_KEY1' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand credential" -l key2-file -d 'A file that holds the second key; without it, the environment variable SWINGBRIDGE_MRAS_KEY2' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand credential" -l mras -d 'Make an MRAS credential, for clients of Office Communicator: of two keys instead of a secret, written in base64'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand credential" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l secret -d 'The secret that the server knows, for time-limited credentials; visible to other users of this machine' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l secret-file -d 'A file that holds the secret; without both, the environment variable SWINGBRIDGE_SECRET' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l user -d 'The name of a user with a password' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l password -d 'The user\'s password; visible to other users of this machine' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l password-file -d 'A file that holds the password; without both, the environment variable SWINGBRIDGE_PASSWORD' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l mras-key1-file -d 'A file that holds the first key of MRAS credentials' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l mras-key2-file -d 'A file that holds the second key of MRAS credentials' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l mras -d 'An MRAS service that hands out such credentials, https://HOST[:PORT][/PATH]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l mras-certificate -d 'The certificate in PEM that the service knows this front end by' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l mras-key -d 'Its key in PEM' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l users -d 'Users that the clients are in turn, so that a quota for each user is not in the way [default: 1]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l dialect -d 'What the clients speak' -r -f -a "standard\t'RFC 8656'
legacy\t'[MS-TURN], over UDP, or over TCP behind pseudo-TLS'"
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l authority -d 'A PEM file with the authorities whose certificates are believed [default: those of this machine]' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l proxy -d 'An HTTP proxy that the clients\' connections go through, http://[NAME:PASSWORD@]HOST:PORT; a password in it is visible to other users of this machine' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l proxy-file -d 'A file that holds the URL of such a proxy' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l peer -d 'The other end of each call: relay (a second allocation at the same server), local (a socket of this machine, or local:ADDRESS), or the HOST:PORT of a `swingbridge load peer` [default: relay]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l profile -d 'What flows [default: audio]' -r -f -a "audio\t'50 packets a second of 160 to 172 bytes'
video\t'Frames in bursts of packets of 1,200 bytes'
screen\t'A large burst now and then'
mixed\t'Audio and video'"
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l rate -d 'Packets a second of each call and direction, in the place of a profile [default: 50]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l size -d 'Bytes of payload of each packet, in the place of a profile [default: 172]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l burst -d 'Packets that leave together, in the place of a profile [default: 1]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l direction -d 'Which ends send: both, up (client to peer), down (peer to client) [default: both]' -r -f -a "both\t'Both'
up\t'The client'
down\t'The peer'"
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l calls -d 'Calls at once; for capacity the most that are tried, for churn the cycles under way, for ice the pairs' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l for -d 'How long each load is measured: 90s, 5m, 1h' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l warm-up -d 'How long each load runs before it is measured [default: 2s]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l ramp -d 'For ramp: calls to begin with, calls more each time, calls at the most [default: 10:10:500]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l rounds -d 'For storm and compare: how often [default: 3]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l per-second -d 'For churn: cycles begun each second [default: as many as it takes]; for ice: pairs [default: 10]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l precision -d 'For capacity: how near the answer shall be [default: 5%]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l patience -d 'For ice: how long a pair may take [default: 15s]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l nat -d 'For ice: between which places the pairs are made, LEFT:RIGHT, or all; may be given often. The places are those of `swingbridge testbed`: open, full-cone, address-restricted, port-restricted, symmetric, cgn, udp-blocked, only-443, http-proxy. Further URIs are further ways to the same server, which has to be on loopback' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l settle -d 'For ice between NATs: how long a relayed pair may yet become direct before it is judged [default: 25s]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l objective -d 'What must hold, separated by commas: loss<0.1%, p50/p99/p99.9/max<20ms, jitter<5ms, failures<1% [default for ramp and capacity: loss<0.1%,p99<20ms,failures<1%]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l server-pid -d 'The process of the server on this machine, to tell what it uses; twice for compare' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l admin -d '[admin] listen of a Swingbridge, to tell what it uses; twice for compare' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l source -d 'An address of this machine that clients come from; may be given often' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l threads -d 'Threads that send and receive [default: one less than there are cores]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l seed -d 'What the randomness begins with: the same seed makes the same payloads at the same times [default: random]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l json -d 'Write the report as JSON to this file; - for standard output, in the place of the text' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l html -d 'Write the report as a page with plots to this file' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l insecure -d 'Believe any certificate: for a laboratory'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l indications -d 'Wrap packets in Send and Data indications, and not in channels'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l all-candidates -d 'For ice: offer all kinds of candidates, not relayed ones alone'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -l no-gso -d 'Send packet by packet, without UDP_SEGMENT'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and not __fish_seen_subcommand_from peer" -a "peer" -d 'Be the peer of calls that another machine makes: send back what comes'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and __fish_seen_subcommand_from peer" -l listen -d 'Where to listen' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand load; and __fish_seen_subcommand_from peer" -s h -l help -d 'Print help'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and not __fish_seen_subcommand_from serve run clean agent inside matrix explain" -s h -l help -d 'Print help'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and not __fish_seen_subcommand_from serve run clean agent inside matrix explain" -f -a "serve" -d 'A server that misbehaves on request, for real devices'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and not __fish_seen_subcommand_from serve run clean agent inside matrix explain" -f -a "run" -d 'One call between two programs, each behind its NAT'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and not __fish_seen_subcommand_from serve run clean agent inside matrix explain" -f -a "clean" -d 'Remove what runs left behind that were killed'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and not __fish_seen_subcommand_from serve run clean agent inside matrix explain" -f -a "agent" -d 'Our own ICE agent, as a program for `run`'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and not __fish_seen_subcommand_from serve run clean agent inside matrix explain" -f -a "inside" -d 'The process of a run, which `run` starts'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and not __fish_seen_subcommand_from serve run clean agent inside matrix explain" -f -a "matrix" -d 'Calls between all pairs of places, and whether they end as they have to'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and not __fish_seen_subcommand_from serve run clean agent inside matrix explain" -f -a "explain" -d 'Why a call did or did not connect, in plain words'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from serve" -l listen -d 'Where clients reach it by UDP and TCP, and whence it relays; the port behind it is the other server of redirects' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from serve" -l tls -d 'Where clients reach it by TLS, with a certificate that it makes for itself' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from serve" -l scenarios -d 'Scenario files, in place of those that are built in' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from serve" -l http -d 'Where a browser finds the page with the buttons; who reaches it presses them' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from serve" -l password -d 'The password of every user name [default: one that is drawn]; visible to other users of this machine' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from serve" -l lifetime -d 'The longest lifetime that it grants, so that clients have to refresh soon [default: 10 minutes to an hour]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from serve" -s h -l help -d 'Print help'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -l scenario -d 'Places, lines and faults, of a scenario file or of one that is built in, by its name; options win over it' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -l left -d 'Where the left program stands [default: open]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -l right -d 'Where the right program stands [default: open]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -l loss -d 'Of the packets on both lines so many are lost, each way' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -l reorder -d 'So many are overtaken by others' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -l duplication -d 'So many come twice' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -l delay -d 'How long each line takes, each way' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -l jitter -d 'How much longer at most, at random' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -l rate -d 'Bits of a second that a line carries, each way' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -l timeout -d 'How long the programs may take together; what still runs then is ended [default: 60s, or what the faults take]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -l nat -d 'What the NAT next to each program is made of' -r -f -a "model\t'The model of both laboratories'
kernel\t'The kernel\'s rules (nftables), its firewall too; a carrier\'s NAT stays the model\'s'"
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -l seed -d 'What chance is drawn from: ports of NATs, losses of lines' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -l json -d 'Write all that came of it to this file' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -l logs -d 'Keep in this folder what the programs and the server printed' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -l record -d 'Keep in this folder a capture for Wireshark of both legs and the server\'s side, all that came of it, and what was printed' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -l lifetime -d 'With faults: the longest lifetime that the server grants, so that clients have to refresh within the call' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from clean" -l all -d 'End runs that go on, too'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from clean" -s h -l help -d 'Print help'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from agent" -l data -d 'How long it sends data once it is connected [default: 3s, or what the laboratory asks for]' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from agent" -l patience -d 'How long connecting may take' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from agent" -l transport -d 'Only this way to the server, in place of all: udp, tcp or tls' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from agent" -l discover -d 'In place of a call, ask the server how the NAT here behaves (RFC 5780)'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from agent" -s h -l help -d 'Print help'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from inside" -s h -l help -d 'Print help'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l lab -d 'Where the calls are made' -r -f -a "virtual\t'In virtual time, with our own agents'
real\t'In networks of this machine, between any two programs'"
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l places -d 'Only these places, each with each' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l seeds -d 'Calls between each pair of places' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l seed -d 'The seed of the first call between each pair' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l loss -d 'Of the packets on each link so many are lost, each way' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l reorder -d 'So many are overtaken by the next' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l duplication -d 'So many come twice' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l delay -d 'How long each link takes, each way' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l jitter -d 'How much longer at most, at random' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l rate -d 'Bits of a second that a link carries, each way' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l record -d 'Write to this directory what every point of the laboratory saw, as pcapng for Wireshark. Of the virtual one, of each pair of places the first call that did not end as expected, or else the first; of the real one a folder of each call' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l json -d 'Write the report for programs to this file; `-` prints it in place of the text' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l junit -d 'Write it as JUnit XML; `-` prints it in place of the text' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l html -d 'Write it as one page of HTML; `-` prints it in place of the text' -r -F
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l timeout -d 'In the real laboratory: how long the programs of one call may take' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l together -d 'In the real laboratory: calls that are made at the same time, each in networks of its own' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -l nat -d 'In the real laboratory: what the NAT next to each program is made of' -r -f -a "model\t'The model of both laboratories'
kernel\t'The kernel\'s rules (nftables), its firewall too; a carrier\'s NAT stays the model\'s'"
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from matrix" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from explain" -l pair -d 'Of a matrix: the call between these two places' -r
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from explain" -l json -d 'Print the explanation for programs'
complete -c swingbridge -n "__fish_swingbridge_using_subcommand testbed; and __fish_seen_subcommand_from explain" -s h -l help -d 'Print help'
