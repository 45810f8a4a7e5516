# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_scrubd_global_optspecs
    string join \n config= file= size= state-dir= set= confirm= json h/help V/version
end

function __fish_scrubd_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_scrubd_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_scrubd_using_subcommand
    set -l cmd (__fish_scrubd_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c scrubd -n "__fish_scrubd_needs_command" -l config -d 'Read this file instead of /etc/scrubd/scrubd.toml and /etc/scrubd/conf.d' -r -F
complete -c scrubd -n "__fish_scrubd_needs_command" -l file -d 'Test this file, without a configuration' -r -F
complete -c scrubd -n "__fish_scrubd_needs_command" -l size -d 'Length of the region with --file, label included, such as 1GiB' -r
complete -c scrubd -n "__fish_scrubd_needs_command" -l state-dir -d 'Where ledgers, event logs and evidence live' -r -F
complete -c scrubd -n "__fish_scrubd_needs_command" -l set -d 'Override a key of the target, as in --set trigger.file=/run/cut; may be repeated' -r
complete -c scrubd -n "__fish_scrubd_needs_command" -l confirm -d 'Say again which device or file may be overwritten' -r -F
complete -c scrubd -n "__fish_scrubd_needs_command" -l json -d 'Print JSON'
complete -c scrubd -n "__fish_scrubd_needs_command" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_needs_command" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_needs_command" -f -a "init" -d 'Label a target; refuses anything in use or with a signature'
complete -c scrubd -n "__fish_scrubd_needs_command" -f -a "release" -d 'Take the label off a target, and give it back'
complete -c scrubd -n "__fish_scrubd_needs_command" -f -a "run" -d 'The daemon: write, read back, judge, keep the ledger'
complete -c scrubd -n "__fish_scrubd_needs_command" -f -a "check" -d 'Read-only verdict over the whole region'
complete -c scrubd -n "__fish_scrubd_needs_command" -f -a "status" -d 'Ask a running daemon how it is'
complete -c scrubd -n "__fish_scrubd_needs_command" -f -a "trigger" -d 'Pull a running daemon\'s trigger'
complete -c scrubd -n "__fish_scrubd_needs_command" -f -a "pause" -d 'Stop a running daemon\'s I/O until resume'
complete -c scrubd -n "__fish_scrubd_needs_command" -f -a "resume" -d 'Go on after pause'
complete -c scrubd -n "__fish_scrubd_needs_command" -f -a "reload" -d 'Have a running daemon reload what can be reloaded'
complete -c scrubd -n "__fish_scrubd_needs_command" -f -a "inspect" -d 'Decode one block and say what it is'
complete -c scrubd -n "__fish_scrubd_needs_command" -f -a "report" -d 'What the state directory says, as a page of HTML or, with --json, a line of JSON'
complete -c scrubd -n "__fish_scrubd_needs_command" -f -a "selftest" -d 'Inject every class of fault into a simulated disk and see that each is found and named; needs no target'
complete -c scrubd -n "__fish_scrubd_needs_command" -f -a "config" -d 'Validate the configuration, or show it with the origin of every value'
complete -c scrubd -n "__fish_scrubd_needs_command" -f -a "quarantine" -d 'The latch that a finding sets'
complete -c scrubd -n "__fish_scrubd_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c scrubd -n "__fish_scrubd_using_subcommand init" -l config -d 'Read this file instead of /etc/scrubd/scrubd.toml and /etc/scrubd/conf.d' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand init" -l file -d 'Test this file, without a configuration' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand init" -l size -d 'Length of the region with --file, label included, such as 1GiB' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand init" -l state-dir -d 'Where ledgers, event logs and evidence live' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand init" -l set -d 'Override a key of the target, as in --set trigger.file=/run/cut; may be repeated' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand init" -l confirm -d 'Say again which device or file may be overwritten' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand init" -l json -d 'Print JSON'
complete -c scrubd -n "__fish_scrubd_using_subcommand init" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand init" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand release" -l config -d 'Read this file instead of /etc/scrubd/scrubd.toml and /etc/scrubd/conf.d' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand release" -l file -d 'Test this file, without a configuration' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand release" -l size -d 'Length of the region with --file, label included, such as 1GiB' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand release" -l state-dir -d 'Where ledgers, event logs and evidence live' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand release" -l set -d 'Override a key of the target, as in --set trigger.file=/run/cut; may be repeated' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand release" -l confirm -d 'Say again which device or file may be overwritten' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand release" -l json -d 'Print JSON'
complete -c scrubd -n "__fish_scrubd_using_subcommand release" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand release" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand run" -l passes -d 'Stop cleanly once N more passes are written and read back; on patrol, once N passes are ended' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand run" -l duration -d 'Stop cleanly after this time, such as 90s or 12h' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand run" -l config -d 'Read this file instead of /etc/scrubd/scrubd.toml and /etc/scrubd/conf.d' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand run" -l file -d 'Test this file, without a configuration' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand run" -l size -d 'Length of the region with --file, label included, such as 1GiB' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand run" -l state-dir -d 'Where ledgers, event logs and evidence live' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand run" -l set -d 'Override a key of the target, as in --set trigger.file=/run/cut; may be repeated' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand run" -l confirm -d 'Say again which device or file may be overwritten' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand run" -l json -d 'Print JSON'
complete -c scrubd -n "__fish_scrubd_using_subcommand run" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand run" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand check" -l config -d 'Read this file instead of /etc/scrubd/scrubd.toml and /etc/scrubd/conf.d' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand check" -l file -d 'Test this file, without a configuration' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand check" -l size -d 'Length of the region with --file, label included, such as 1GiB' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand check" -l state-dir -d 'Where ledgers, event logs and evidence live' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand check" -l set -d 'Override a key of the target, as in --set trigger.file=/run/cut; may be repeated' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand check" -l confirm -d 'Say again which device or file may be overwritten' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand check" -l no-state -d 'Rebuild the ledger from the tags on the disk alone'
complete -c scrubd -n "__fish_scrubd_using_subcommand check" -l json -d 'Print JSON'
complete -c scrubd -n "__fish_scrubd_using_subcommand check" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand check" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand status" -l config -d 'Read this file instead of /etc/scrubd/scrubd.toml and /etc/scrubd/conf.d' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand status" -l file -d 'Test this file, without a configuration' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand status" -l size -d 'Length of the region with --file, label included, such as 1GiB' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand status" -l state-dir -d 'Where ledgers, event logs and evidence live' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand status" -l set -d 'Override a key of the target, as in --set trigger.file=/run/cut; may be repeated' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand status" -l confirm -d 'Say again which device or file may be overwritten' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand status" -l json -d 'Print JSON'
complete -c scrubd -n "__fish_scrubd_using_subcommand status" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand status" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand trigger" -l config -d 'Read this file instead of /etc/scrubd/scrubd.toml and /etc/scrubd/conf.d' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand trigger" -l file -d 'Test this file, without a configuration' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand trigger" -l size -d 'Length of the region with --file, label included, such as 1GiB' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand trigger" -l state-dir -d 'Where ledgers, event logs and evidence live' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand trigger" -l set -d 'Override a key of the target, as in --set trigger.file=/run/cut; may be repeated' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand trigger" -l confirm -d 'Say again which device or file may be overwritten' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand trigger" -l json -d 'Print JSON'
complete -c scrubd -n "__fish_scrubd_using_subcommand trigger" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand trigger" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand pause" -l config -d 'Read this file instead of /etc/scrubd/scrubd.toml and /etc/scrubd/conf.d' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand pause" -l file -d 'Test this file, without a configuration' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand pause" -l size -d 'Length of the region with --file, label included, such as 1GiB' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand pause" -l state-dir -d 'Where ledgers, event logs and evidence live' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand pause" -l set -d 'Override a key of the target, as in --set trigger.file=/run/cut; may be repeated' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand pause" -l confirm -d 'Say again which device or file may be overwritten' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand pause" -l json -d 'Print JSON'
complete -c scrubd -n "__fish_scrubd_using_subcommand pause" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand pause" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand resume" -l config -d 'Read this file instead of /etc/scrubd/scrubd.toml and /etc/scrubd/conf.d' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand resume" -l file -d 'Test this file, without a configuration' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand resume" -l size -d 'Length of the region with --file, label included, such as 1GiB' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand resume" -l state-dir -d 'Where ledgers, event logs and evidence live' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand resume" -l set -d 'Override a key of the target, as in --set trigger.file=/run/cut; may be repeated' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand resume" -l confirm -d 'Say again which device or file may be overwritten' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand resume" -l json -d 'Print JSON'
complete -c scrubd -n "__fish_scrubd_using_subcommand resume" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand resume" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand reload" -l config -d 'Read this file instead of /etc/scrubd/scrubd.toml and /etc/scrubd/conf.d' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand reload" -l file -d 'Test this file, without a configuration' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand reload" -l size -d 'Length of the region with --file, label included, such as 1GiB' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand reload" -l state-dir -d 'Where ledgers, event logs and evidence live' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand reload" -l set -d 'Override a key of the target, as in --set trigger.file=/run/cut; may be repeated' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand reload" -l confirm -d 'Say again which device or file may be overwritten' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand reload" -l json -d 'Print JSON'
complete -c scrubd -n "__fish_scrubd_using_subcommand reload" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand reload" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand inspect" -l block -d 'Number of the block within the region, from 0' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand inspect" -l config -d 'Read this file instead of /etc/scrubd/scrubd.toml and /etc/scrubd/conf.d' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand inspect" -l file -d 'Test this file, without a configuration' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand inspect" -l size -d 'Length of the region with --file, label included, such as 1GiB' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand inspect" -l state-dir -d 'Where ledgers, event logs and evidence live' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand inspect" -l set -d 'Override a key of the target, as in --set trigger.file=/run/cut; may be repeated' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand inspect" -l confirm -d 'Say again which device or file may be overwritten' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand inspect" -l json -d 'Print JSON'
complete -c scrubd -n "__fish_scrubd_using_subcommand inspect" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand inspect" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand report" -l config -d 'Read this file instead of /etc/scrubd/scrubd.toml and /etc/scrubd/conf.d' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand report" -l file -d 'Test this file, without a configuration' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand report" -l size -d 'Length of the region with --file, label included, such as 1GiB' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand report" -l state-dir -d 'Where ledgers, event logs and evidence live' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand report" -l set -d 'Override a key of the target, as in --set trigger.file=/run/cut; may be repeated' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand report" -l confirm -d 'Say again which device or file may be overwritten' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand report" -l json -d 'Print JSON'
complete -c scrubd -n "__fish_scrubd_using_subcommand report" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand report" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand selftest" -l seed -d 'What all chance comes from; drawn anew where it is left out' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand selftest" -l rounds -d 'Times that every case is tried' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand selftest" -l json -d 'Print JSON'
complete -c scrubd -n "__fish_scrubd_using_subcommand selftest" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand selftest" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and not __fish_seen_subcommand_from check show help" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and not __fish_seen_subcommand_from check show help" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and not __fish_seen_subcommand_from check show help" -f -a "check" -d 'Name everything that is wrong'
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and not __fish_seen_subcommand_from check show help" -f -a "show" -d 'Every key in force and where it was said'
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and not __fish_seen_subcommand_from check show help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'Read this file instead of /etc/scrubd/scrubd.toml and /etc/scrubd/conf.d' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from check" -l file -d 'Test this file, without a configuration' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from check" -l size -d 'Length of the region with --file, label included, such as 1GiB' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from check" -l state-dir -d 'Where ledgers, event logs and evidence live' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from check" -l set -d 'Override a key of the target, as in --set trigger.file=/run/cut; may be repeated' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from check" -l confirm -d 'Say again which device or file may be overwritten' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from check" -l json -d 'Print JSON'
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from check" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from show" -l config -d 'Read this file instead of /etc/scrubd/scrubd.toml and /etc/scrubd/conf.d' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from show" -l file -d 'Test this file, without a configuration' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from show" -l size -d 'Length of the region with --file, label included, such as 1GiB' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from show" -l state-dir -d 'Where ledgers, event logs and evidence live' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from show" -l set -d 'Override a key of the target, as in --set trigger.file=/run/cut; may be repeated' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from show" -l confirm -d 'Say again which device or file may be overwritten' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from show" -l json -d 'Print JSON'
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "check" -d 'Name everything that is wrong'
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "show" -d 'Every key in force and where it was said'
complete -c scrubd -n "__fish_scrubd_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c scrubd -n "__fish_scrubd_using_subcommand quarantine; and not __fish_seen_subcommand_from clear help" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand quarantine; and not __fish_seen_subcommand_from clear help" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand quarantine; and not __fish_seen_subcommand_from clear help" -f -a "clear" -d 'Lift it, after the evidence has been looked at'
complete -c scrubd -n "__fish_scrubd_using_subcommand quarantine; and not __fish_seen_subcommand_from clear help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c scrubd -n "__fish_scrubd_using_subcommand quarantine; and __fish_seen_subcommand_from clear" -l config -d 'Read this file instead of /etc/scrubd/scrubd.toml and /etc/scrubd/conf.d' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand quarantine; and __fish_seen_subcommand_from clear" -l file -d 'Test this file, without a configuration' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand quarantine; and __fish_seen_subcommand_from clear" -l size -d 'Length of the region with --file, label included, such as 1GiB' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand quarantine; and __fish_seen_subcommand_from clear" -l state-dir -d 'Where ledgers, event logs and evidence live' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand quarantine; and __fish_seen_subcommand_from clear" -l set -d 'Override a key of the target, as in --set trigger.file=/run/cut; may be repeated' -r
complete -c scrubd -n "__fish_scrubd_using_subcommand quarantine; and __fish_seen_subcommand_from clear" -l confirm -d 'Say again which device or file may be overwritten' -r -F
complete -c scrubd -n "__fish_scrubd_using_subcommand quarantine; and __fish_seen_subcommand_from clear" -l json -d 'Print JSON'
complete -c scrubd -n "__fish_scrubd_using_subcommand quarantine; and __fish_seen_subcommand_from clear" -s h -l help -d 'Print help'
complete -c scrubd -n "__fish_scrubd_using_subcommand quarantine; and __fish_seen_subcommand_from clear" -s V -l version -d 'Print version'
complete -c scrubd -n "__fish_scrubd_using_subcommand quarantine; and __fish_seen_subcommand_from help" -f -a "clear" -d 'Lift it, after the evidence has been looked at'
complete -c scrubd -n "__fish_scrubd_using_subcommand quarantine; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and not __fish_seen_subcommand_from init release run check status trigger pause resume reload inspect report selftest config quarantine help" -f -a "init" -d 'Label a target; refuses anything in use or with a signature'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and not __fish_seen_subcommand_from init release run check status trigger pause resume reload inspect report selftest config quarantine help" -f -a "release" -d 'Take the label off a target, and give it back'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and not __fish_seen_subcommand_from init release run check status trigger pause resume reload inspect report selftest config quarantine help" -f -a "run" -d 'The daemon: write, read back, judge, keep the ledger'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and not __fish_seen_subcommand_from init release run check status trigger pause resume reload inspect report selftest config quarantine help" -f -a "check" -d 'Read-only verdict over the whole region'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and not __fish_seen_subcommand_from init release run check status trigger pause resume reload inspect report selftest config quarantine help" -f -a "status" -d 'Ask a running daemon how it is'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and not __fish_seen_subcommand_from init release run check status trigger pause resume reload inspect report selftest config quarantine help" -f -a "trigger" -d 'Pull a running daemon\'s trigger'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and not __fish_seen_subcommand_from init release run check status trigger pause resume reload inspect report selftest config quarantine help" -f -a "pause" -d 'Stop a running daemon\'s I/O until resume'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and not __fish_seen_subcommand_from init release run check status trigger pause resume reload inspect report selftest config quarantine help" -f -a "resume" -d 'Go on after pause'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and not __fish_seen_subcommand_from init release run check status trigger pause resume reload inspect report selftest config quarantine help" -f -a "reload" -d 'Have a running daemon reload what can be reloaded'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and not __fish_seen_subcommand_from init release run check status trigger pause resume reload inspect report selftest config quarantine help" -f -a "inspect" -d 'Decode one block and say what it is'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and not __fish_seen_subcommand_from init release run check status trigger pause resume reload inspect report selftest config quarantine help" -f -a "report" -d 'What the state directory says, as a page of HTML or, with --json, a line of JSON'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and not __fish_seen_subcommand_from init release run check status trigger pause resume reload inspect report selftest config quarantine help" -f -a "selftest" -d 'Inject every class of fault into a simulated disk and see that each is found and named; needs no target'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and not __fish_seen_subcommand_from init release run check status trigger pause resume reload inspect report selftest config quarantine help" -f -a "config" -d 'Validate the configuration, or show it with the origin of every value'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and not __fish_seen_subcommand_from init release run check status trigger pause resume reload inspect report selftest config quarantine help" -f -a "quarantine" -d 'The latch that a finding sets'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and not __fish_seen_subcommand_from init release run check status trigger pause resume reload inspect report selftest config quarantine help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "check" -d 'Name everything that is wrong'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "show" -d 'Every key in force and where it was said'
complete -c scrubd -n "__fish_scrubd_using_subcommand help; and __fish_seen_subcommand_from quarantine" -f -a "clear" -d 'Lift it, after the evidence has been looked at'
