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
