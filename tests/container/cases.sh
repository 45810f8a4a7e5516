# The cases, in their order: each leaves the machine as the next one wants it. Sourced by run.

bay3_keys() {
    printf '%s\n' "path = \"$loop\"" 'rate = "20MiB/s"' 'verify.cpus = "1"' 'block_size = "16KiB"' \
        'verify.readback_lag = "1MiB"' 'trigger.file = "/run/scrubd/bay3.cut"' "$@"
}

# A key that is given again replaces the one above: TOML knows no second one.
config_bay3() {
    bay3_keys "$@" | awk -F ' = ' 'BEGIN { print "[target.bay3]" } { if (!($1 in line)) order[++n] = $1; line[$1] = $0 }
        END { for (i = 1; i <= n; i++) print line[order[i]] }' >"$root/etc/scrubd/conf.d/bay3.toml"
}

start_bay3() {
    fresh bay3
    c systemctl start scrubd@bay3
    is bay3 ActiveState active
}

case_an_installation_makes_the_user_and_the_directories_and_starts_nothing() {
    c dpkg -i /scrubd.deb
    c id scrubd
    [ "$(c stat -c '%U %a' /var/lib/scrubd)" = "scrubd 750" ]
    [ "$(c stat -c %U /run/scrubd)" = scrubd ]
    c test -d /etc/scrubd/conf.d
    [ -z "$(c systemctl list-units --plain --no-legend --all 'scrubd*.service')" ]
    fails c systemctl is-enabled scrubd.target
    c systemctl preset scrubd.target scrubd@bay3
    fails c systemctl is-enabled scrubd.target
    c scrubd config check
    c chown scrubd:scrubd "$loop" "$other_loop"
    # The waits of the unit, shortened, as is how often it may start: everything else is as it is shipped.
    drop_in scrubd@ test <<-END
	[Unit]
	StartLimitIntervalSec=0

	[Service]
	RestartSec=200ms
	WatchdogSec=3s
	END
}

case_the_shipped_unit_is_rated_1_2_or_better() {
    local rating
    rating=$(c systemd-analyze security --no-pager scrubd@bay3 | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
    echo "rated $rating"
    awk -v rating="$rating" 'BEGIN { exit !(rating != "" && rating <= 1.2) }'
}

case_a_target_that_is_not_configured_ends_with_78_and_is_not_started_again() {
    fails c systemctl start scrubd@nowhere
    is nowhere ExecMainStatus 78
    is nowhere NRestarts 0
    is nowhere ActiveState failed
}

case_a_missing_device_ends_with_78_and_is_not_started_again() {
    config gone 'path = "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4"'
    fails c systemctl start scrubd@gone
    is gone ExecMainStatus 78
    is gone NRestarts 0
    said gone 'no such file or device'
}

case_the_device_of_a_target_is_refused_by_the_sandbox_until_a_drop_in_lets_it_in() {
    config_bay3
    c scrubd init bay3 --confirm "$loop"
    fails c systemctl start scrubd@bay3
    is bay3 ExecMainStatus 77
    is bay3 NRestarts 0
    drop_in scrubd@bay3 device <<-END
	[Service]
	DeviceAllow=$loop rw
	END
}

case_what_root_labels_belongs_to_user_scrubd() {
    [ -z "$(c find /var/lib/scrubd ! -user scrubd)" ]
}

case_a_start_returns_when_it_is_ready_and_the_status_says_what_is_done() {
    start_bay3
    is bay3 SubState running
    until_true eval 'state_of bay3 StatusText | has -E "pass [0-9]+, [0-9.]+ %; .* MiB/s\\), .*0 findings"'
    state_of bay3 StatusText
}

case_io_uring_registered_buffers_pinning_and_direct_io_work_in_the_sandbox() {
    local status
    status=$(c scrubd status bay3 --json)
    echo "$status"
    has '"engine":"io_uring"' <<<"$status"
    has '"registered_buffers":true,"registered_file":true,"direct":true' <<<"$status"
    has '"thread":"verify/0","cpus_asked":\[1\],"cpus_allowed":\[1\]' <<<"$status"
    # A guard that cannot look, or uevents that cannot be heard, would be told here.
    fails has 'no uevents\|could not look' <<<"$status"
    [ "$(c stat -c %U "/proc/$(state_of bay3 MainPID)")" = scrubd ]
}

case_no_other_device_can_be_opened_in_the_sandbox() {
    config other "path = \"$other_loop\""
    c scrubd init other --confirm "$other_loop"
    fails c systemctl start scrubd@other
    is other ExecMainStatus 77
}

case_a_disk_that_hangs_is_reported_and_not_killed_by_the_watchdog() {
    config other "path = \"$other_loop\"" 'rate = "5MiB/s"' 'verify.deadline = "2s"' 'on_finding = "continue"'
    drop_in scrubd@other device <<-END
	[Service]
	DeviceAllow=$other_loop rw
	END
    fresh other
    c systemctl start scrubd@other
    until_true eval 'state_of other StatusText | has "^writing"'
    trap thaw EXIT
    freeze
    until_true eval 'state_of other StatusText | has "stuck"'
    # More than twice WatchdogSec=.
    sleep 7
    is other ActiveState active
    is other NRestarts 0
    state_of other StatusText
    thaw
    trap - EXIT
    until_true eval '! state_of other StatusText | has stuck'
    said other 'has returned after'
    c systemctl stop scrubd@other
    is other NRestarts 0
    fresh other
}

case_a_uevent_of_the_kernel_reaches_the_sandbox() {
    echo remove >"/sys/class/block/${loop#/dev/}/uevent"
    until_true said bay3 'it was removed'
    is bay3 ActiveState active
    until_true eval 'state_of bay3 StatusText | has "^writing"'
}

case_a_good_reload_comes_back_when_the_settings_are_in_force() {
    config_bay3 'flush_every = "1s"'
    c systemctl reload scrubd@bay3
    is bay3 ActiveState active
    said bay3 'the settings were read again'
}

case_a_bad_reload_fails_says_why_and_keeps_the_old_settings() {
    local pid
    pid=$(state_of bay3 MainPID)
    config_bay3 'queue_depth = 7'
    fails c systemctl reload scrubd@bay3
    is bay3 ActiveState active
    said bay3 'queue_depth: 32 is in use, 7 needs a restart'
    until_true eval 'state_of bay3 StatusText | has "the last reload was refused"'
    config_bay3 'rate = "much"'
    fails c systemctl reload scrubd@bay3
    config_bay3
    c systemctl reload scrubd@bay3
    until_true eval '! state_of bay3 StatusText | has refused'
    is bay3 MainPID "$pid"
}

case_the_journal_has_priorities_ids_fields_and_explanations() {
    c journalctl --no-pager -u scrubd@bay3 -o json MESSAGE_ID=c056eb5fa5354694bee799f21d03e5ab | has '"PRIORITY":"6"'
    c journalctl --no-pager -x -u scrubd@bay3 | has 'Ring, buffers and workers are there'
    c journalctl --no-pager -u scrubd@bay3 -p err MESSAGE_ID=3d56ee21ef554308a8fe1a834a8febdc | has 'stay as they were'
}

case_sigusr1_puts_the_status_into_the_journal() {
    c systemctl kill -s USR1 --kill-whom=main scrubd@bay3
    until_true said bay3 'status {"schema":1'
}

case_sighup_reloads() {
    local before
    before=$(said bay3 'the settings were read again' | wc -l)
    c systemctl kill -s HUP --kill-whom=main scrubd@bay3
    until_true eval "[ \"\$(said bay3 'the settings were read again' | wc -l)\" -gt $before ]"
}

case_sigterm_and_sigint_end_cleanly_and_stay_ended() {
    local signal
    for signal in TERM INT; do
        c systemctl kill -s $signal --kill-whom=main scrubd@bay3
        until_is bay3 ActiveState inactive
        is bay3 ExecMainStatus 0
        is bay3 Result success
        start_bay3
    done
}

case_a_crash_is_started_again_and_the_next_start_judges_and_finds_nothing() {
    local signal before
    # Not SEGV: Rust's handler takes the first one that comes without a fault for none.
    for signal in KILL ABRT QUIT; do
        before=$(restarts_of bay3)
        c systemctl kill -s $signal --kill-whom=main scrubd@bay3
        until_true eval "[ \"\$(restarts_of bay3)\" -gt $before ]"
        until_is bay3 ActiveState active
        until_true eval 'state_of bay3 StatusText | has "^writing"'
    done
    said bay3 'verdict: intact'
    is bay3 ActiveState active
}

case_a_stopped_process_is_ended_by_the_watchdog_and_started_again() {
    local before
    fresh bay3
    before=$(restarts_of bay3)
    c systemctl kill -s STOP --kill-whom=main scrubd@bay3
    until_true eval "[ \"\$(restarts_of bay3)\" -gt $before ]"
    until_is bay3 ActiveState active
    c journalctl --no-pager -u scrubd@bay3 | has 'Watchdog timeout'
}

case_a_stop_under_load_is_quick_clean_and_loses_nothing() {
    config_bay3 'queue_depth = 128' 'rate = "off"'
    c systemctl restart scrubd@bay3
    sleep 2
    local begin=$SECONDS
    c systemctl stop scrubd@bay3
    [ $((SECONDS - begin)) -lt 20 ]
    is bay3 Result success
    is bay3 ExecMainStatus 0
    c scrubd check bay3
    config_bay3
}

case_a_trigger_file_runs_the_command_in_the_sandbox_without_what_is_systemds() {
    config_bay3 'trigger.command = ["sh", "-c", "env; id -un; cat /proc/self/attr/current >/dev/null 2>&1; echo cut"]'
    start_bay3
    c runuser -u scrubd -- touch /run/scrubd/bay3.cut
    until_is bay3 ActiveState inactive
    is bay3 ExecMainStatus 0
    said bay3 'command: cut'
    said bay3 'command: scrubd'
    said bay3 'command: SCRUBD_REASON='
    fails said bay3 'command: NOTIFY_SOCKET'
    fails said bay3 'command: WATCHDOG_'
    fails c test -e /run/scrubd/bay3.cut
}

case_a_trigger_command_that_fails_ends_with_69_and_is_not_started_again() {
    config_bay3 'trigger.command = ["false"]'
    start_bay3
    c scrubd trigger bay3
    until_is bay3 ActiveState failed
    is bay3 ExecMainStatus 69
}

case_an_action_outside_the_sandbox_runs_as_root_through_the_path_unit() {
    printf '#!/bin/sh\nid -u >/root/acted\necho "$SCRUBD_TARGET" >>/root/acted\n' >"$root/etc/scrubd/actions/bay3"
    chmod 755 "$root/etc/scrubd/actions/bay3"
    c systemctl start scrubd-action@bay3.path
    config_bay3 'trigger.command = ["/usr/libexec/scrubd/request-action", "bay3"]'
    start_bay3
    c scrubd trigger bay3
    until_is bay3 ActiveState inactive
    is bay3 ExecMainStatus 0
    [ "$(cat "$root/root/acted")" = "0
bay3" ]
    # What fails out there is known in here.
    printf '#!/bin/sh\nexit 3\n' >"$root/etc/scrubd/actions/bay3"
    start_bay3
    c scrubd trigger bay3
    until_is bay3 ActiveState failed
    is bay3 ExecMainStatus 69
    said bay3 'the action of bay3: exit-code, exit status 3'
    c systemctl stop scrubd-action@bay3.path
    config_bay3
}

case_two_instances_run_side_by_side() {
    mkdir -p "$root/srv/scratch"
    c chown scrubd:scrubd /srv/scratch
    config scratch 'path = "/srv/scratch/disk"' 'length = "16MiB"' 'rate = "20MiB/s"'
    drop_in scrubd@scratch file <<-END
	[Service]
	ReadWritePaths=/srv/scratch
	END
    c runuser -u scrubd -- env XDG_STATE_HOME=/var/lib scrubd init scratch
    start_bay3
    c systemctl start scrubd@scratch
    is scratch ActiveState active
    is bay3 ActiveState active
    c scrubd status scratch
    c systemctl stop scrubd@scratch
    is bay3 ActiveState active
    is scratch Result success
}

case_an_upgrade_while_it_runs_leaves_it_running() {
    local pid
    pid=$(state_of bay3 MainPID)
    c dpkg -i /scrubd.deb | tee /dev/stderr | has 'goes on with the version that it was started with: scrubd@bay3.service'
    is bay3 MainPID "$pid"
    is bay3 ActiveState active
    c scrubd status bay3
    c systemctl reload scrubd@bay3
}

# Patrol. The units are those of another template: state_of and its friends take a name of scrubd@ alone.
patrol_of() { c systemctl show -P "$1" scrubd-patrol@bay3.service; }
patrol_is() { [ "$(patrol_of "$1")" = "$2" ] || { c systemctl status --no-pager -l scrubd-patrol@bay3.service; return 1; }; }
patrol_said() { c journalctl --no-pager -o cat -u scrubd-patrol@bay3 | grep -F -e "$1"; }

case_the_shipped_patrol_unit_is_rated_1_2_or_better() {
    local rating
    rating=$(c systemd-analyze security --offline=true --no-pager scrubd-patrol@bay3.service |
        sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
    echo "rated $rating"
    awk -v rating="$rating" 'BEGIN { exit !(rating != "" && rating <= 1.2) }'
}

case_a_patrol_is_skipped_while_the_target_is_being_written_and_that_is_no_failure() {
    is bay3 ActiveState active
    drop_in scrubd-patrol@bay3 device <<-END
	[Service]
	DeviceAllow=$loop r
	RestartSec=200ms
	END
    c systemctl start scrubd-patrol@bay3.service
    patrol_is ActiveState inactive
    fails c systemctl is-failed scrubd-patrol@bay3.service
    patrol_said 'scrubd@bay3.service is at it: no patrol now'
    is bay3 ActiveState active
}

case_a_patrol_reads_every_block_on_a_device_that_it_cannot_write_and_ends() {
    local before after
    until_true eval 'state_of bay3 StatusText | has "pass [1-9]"'
    c systemctl stop scrubd@bay3
    is bay3 Result success
    before=$(sha256sum <"$root.disk")
    config_bay3 'rate = "off"'
    c systemctl start scrubd-patrol@bay3.service
    until_true eval '[ "$(patrol_of ActiveState)" = inactive ]'
    patrol_is Result success
    patrol_said 'patrol pass 0 is ended'
    patrol_said 'verdict: intact'
    sync "$root.disk"
    after=$(sha256sum <"$root.disk")
    [ "$before" = "$after" ]
}

case_a_patrol_begun_by_its_timer_goes_on_after_a_reboot_where_it_stopped() {
    fails c systemctl is-enabled scrubd-patrol@bay3.timer
    # 47 MiB in a minute and a half.
    config_bay3 'patrol.rate = "512KiB"'
    mkdir -p "$root/etc/systemd/system/scrubd-patrol@.timer.d" "$root/etc/systemd/system/scrubd-patrol-resume@.timer.d"
    # Now instead of once a month, and without the waits.
    printf '[Timer]\nOnCalendar=\nOnActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=1s\n' \
        >"$root/etc/systemd/system/scrubd-patrol@.timer.d/test.conf"
    printf '[Timer]\nOnBootSec=\nOnBootSec=6s\nRandomizedDelaySec=0\nAccuracySec=1s\n' \
        >"$root/etc/systemd/system/scrubd-patrol-resume@.timer.d/test.conf"
    c systemctl daemon-reload
    c systemctl enable --now scrubd-patrol@bay3.timer
    until_true eval '[ "$(patrol_of ActiveState)" = active ]'
    until_true eval 'patrol_of StatusText | has "^patrolling: pass 1, [1-9]"'
    patrol_of StatusText
    fails c systemctl start scrubd@bay3
    is bay3 ExecMainStatus 75
    c systemctl stop scrubd@bay3
    fresh bay3
    # Off with the first timer: what starts it after the boot is the other one.
    printf '[Timer]\nOnCalendar=\nOnCalendar=monthly\nRandomizedDelaySec=0\n' \
        >"$root/etc/systemd/system/scrubd-patrol@.timer.d/test.conf"
    reboot
    until_true eval '[ "$(patrol_of ActiveState)" = active ]'
    until_true patrol_said 'patrol pass 1 goes on at block'
    fails c journalctl --no-pager -b -o cat -u scrubd-patrol@bay3 --grep 'patrol pass 1 begins'
    # A quicker pace is taken over by the running patrol.
    config_bay3 'patrol.rate = "off"'
    c systemctl reload scrubd-patrol@bay3.service
    until_true eval '[ "$(patrol_of ActiveState)" = inactive ]'
    patrol_is Result success
    patrol_said 'patrol pass 1 is ended'
    c systemctl disable --now scrubd-patrol@bay3.timer
    c test -e /var/lib/scrubd/bay3/patrol.ended
    fails c test -e /var/lib/scrubd/bay3/patrol
}

case_a_patrol_that_was_ended_does_not_begin_again_at_boot() {
    c systemctl enable scrubd-patrol@bay3.timer
    reboot
    c systemctl is-active scrubd-patrol@bay3.timer
    fails c systemctl is-active scrubd-patrol-resume@bay3.timer
    [ "$(c systemctl show -P ConditionResult scrubd-patrol-resume@bay3.timer)" = no ]
    c systemctl disable --now scrubd-patrol@bay3.timer
}

case_a_patrol_that_crashes_is_started_again_and_goes_on() {
    local before
    config_bay3 'patrol.rate = "512KiB"'
    c systemctl reset-failed scrubd-patrol@bay3.service || true
    c systemctl start scrubd-patrol@bay3.service
    until_true c test -e /var/lib/scrubd/bay3/patrol
    before=$(patrol_of NRestarts)
    c systemctl kill -s KILL --kill-whom=main scrubd-patrol@bay3.service
    until_true eval "[ \"\$(patrol_of NRestarts)\" -gt $before ]"
    until_true patrol_said 'patrol pass 2 goes on at block'
    c systemctl stop scrubd-patrol@bay3.service
    patrol_is Result success
}

case_a_patrol_that_finds_damage_ends_with_65_and_is_latched() {
    c dd if=/dev/urandom of="$loop" bs=512 count=4 seek=$((40 * 2048 + 1000)) oflag=direct conv=notrunc
    config_bay3
    c systemctl start scrubd-patrol@bay3.service || true
    until_true eval '[ "$(patrol_of ActiveState)" = failed ]'
    patrol_is ExecMainStatus 65
    patrol_is NRestarts 0
    c journalctl --no-pager -x -u scrubd-patrol@bay3 SCRUBD_CLASS=corrupt | has 'A promise was broken: corrupt at block'
    c test -e /var/lib/scrubd/bay3/QUARANTINE
    c systemctl reset-failed scrubd-patrol@bay3.service
    fails c systemctl start scrubd-patrol@bay3.service
    patrol_is AssertResult no
    fails c systemctl start scrubd@bay3
    is bay3 AssertResult no
    c scrubd quarantine clear bay3
    # A burn-in writes over it.
    start_bay3
    until_true eval 'state_of bay3 StatusText | has "^writing"'
}

case_a_finding_ends_with_65_and_is_not_started_again() {
    c systemctl stop scrubd@bay3
    # Behind the label, in the middle of a block, past the page cache of nobody.
    c dd if=/dev/urandom of="$loop" bs=512 count=4 seek=$((2 * 2048 + 1000)) oflag=direct conv=notrunc
    config_bay3 'verify.on_start = "always"'
    fresh bay3
    c systemctl start scrubd@bay3 || true
    until_is bay3 ActiveState failed
    is bay3 ExecMainStatus 65
    is bay3 NRestarts 0
    c test -e /var/lib/scrubd/bay3/QUARANTINE
    c journalctl --no-pager -x -u scrubd@bay3 SCRUBD_CLASS=corrupt | has 'A promise was broken: corrupt at block'
    c test -s /var/lib/scrubd/bay3/findings/1/summary.txt
}

case_a_quarantined_target_is_not_started_and_that_is_a_failure() {
    fresh bay3
    fails c systemctl start scrubd@bay3
    is bay3 AssertResult no
    is bay3 ActiveState inactive
    # Past the unit's assertion the daemon refuses too.
    c scrubd run bay3 && return 1
    [ "$(c sh -c 'scrubd run bay3 >/dev/null 2>&1; echo $?')" = 65 ]
}

case_a_reboot_lifts_no_quarantine_and_a_clear_does() {
    c systemctl enable scrubd.target scrubd@bay3
    reboot
    is bay3 AssertResult no
    fails c systemctl start scrubd@bay3
    c scrubd quarantine clear bay3
    [ -z "$(c find /var/lib/scrubd ! -user scrubd)" ]
    start_bay3
    until_true eval 'state_of bay3 StatusText | has "^writing"'
    c systemctl stop scrubd@bay3
    config_bay3
}

case_what_is_enabled_starts_at_boot_by_itself() {
    # The file's, as the device's node is made after the boot here, by no udev.
    c systemctl disable scrubd@bay3
    c systemctl enable scrubd@scratch
    reboot
    is scratch ActiveState active
    c scrubd status scratch
    c systemctl stop scrubd.target
    until_is scratch ActiveState inactive
    is scratch Result success
    c systemctl disable scrubd@scratch scrubd.target
}

case_a_device_with_another_serial_is_refused_with_77() {
    config_bay3 'serial = "WD-WX12345678"'
    fails c systemctl start scrubd@bay3
    is bay3 ExecMainStatus 77
    is bay3 NRestarts 0
    said bay3 'this is another device'
    config_bay3
}

case_a_full_state_directory_ends_with_73_and_is_not_started_again() {
    c mount -t tmpfs -o size=3m,mode=755 tmpfs /mnt
    c mkdir /mnt/scrubd
    c chown scrubd:scrubd /mnt/scrubd
    rm -f "$root/etc/scrubd/conf.d/other.toml"
    config full "path = \"$other_loop\"" 'rate = "20MiB/s"'
    sed -i '1i state_dir = "/mnt/scrubd"' "$root/etc/scrubd/conf.d/full.toml"
    drop_in scrubd@full state <<-END
	[Service]
	ReadWritePaths=/mnt/scrubd
	DeviceAllow=$other_loop rw
	END
    c dd if=/dev/zero of=/mnt/filler bs=1M count=3 || true
    fails c systemctl start scrubd@full
    is full ExecMainStatus 73
    is full NRestarts 0
    rm "$root/etc/scrubd/conf.d/full.toml"
    c umount /mnt
}

case_a_released_target_is_no_target_any_more() {
    fresh bay3
    fails c scrubd release bay3
    c scrubd release bay3 --confirm "$loop"
    fails c systemctl start scrubd@bay3
    is bay3 ExecMainStatus 77
    c scrubd init bay3 --confirm "$loop"
    start_bay3
}

case_a_removal_stops_what_runs_cleanly_and_keeps_state_and_configuration() {
    c systemctl enable --now scrubd-patrol@bay3.timer
    c systemctl is-active scrubd-patrol@bay3.timer
    c dpkg -r scrubd
    fails c systemctl is-active scrubd@bay3
    fails c systemctl is-active scrubd-patrol@bay3.timer
    c test -e /var/lib/scrubd/bay3/ledger.0
    c test -e /etc/scrubd/scrubd.toml
    fails c test -e /usr/bin/scrubd
    has '"stopped"\|Stopped' "$root/var/lib/scrubd/bay3/events.jsonl"
}

case_a_purge_takes_the_state_and_leaves_what_is_the_administrators() {
    c dpkg -P scrubd
    fails c test -e /var/lib/scrubd
    fails c test -L /etc/systemd/system/timers.target.wants/scrubd-patrol@bay3.timer
    fails c test -e /etc/scrubd/scrubd.toml
    c test -e /etc/scrubd/conf.d/bay3.toml
    c id scrubd
}
