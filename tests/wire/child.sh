# A backend as a child process, one JSON-RPC message a line. What it does is in the method: t/echo answers its params, others fail as
# they are called. Started by sh, which is on every host.
while IFS= read -r line; do
  id=${line#*\"id\":}
  id=${id%%,*}
  method=${line#*\"method\":\"t/}
  method=${method%%\"*}
  params=${line#*\"params\":}
  params=${params%\}}
  answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
  case $method in
    echo) answer "$params" ;;
    pid) answer $$ ;;
    refuse) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-7,"message":"no"}}\n' "$id" ;;
    hang) ;;
    late) wait_s=${params#[}; wait_s=${wait_s%]}; sleep "${wait_s:-1}"; answer '"late"' ;;
    twice) answer 1; answer 2 ;;
    garbage) echo 'this is no answer' ;;
    odd) printf '{"jsonrpc":"2.0","id":%s}\n' "$id" ;;
    crash) printf '{"jsonrpc":"2.0","id":%s,"resu' "$id"; kill -9 $$ ;;
    exit) exit 3 ;;
    long) printf '{"jsonrpc":"2.0","id":%s,"result":"' "$id"; head -c 10000000 /dev/zero | tr '\0' x; printf '"}\n' ;;
    endless) tr '\0' x </dev/zero ;;
    deaf) kill -STOP $$ ;;
    complain) echo 'it complains' >&2; answer true ;;
    # Without a pipe of the shell's own; what it listed them by is closed again.
    descriptors)
      open=
      for file in /proc/$$/fd/*; do
        if [ -e "$file" ]; then open="$open ${file##*/}"; fi
      done
      answer "\"$open\""
      ;;
    limits) answer "\"$(ulimit -n) $(ulimit -v) $(ulimit -f) $(ulimit -c)\"" ;;
    signals) answer "\"$(grep -E 'SigBlk|SigIgn' /proc/$$/status | tr '\n\t' '  ')\"" ;;
    environment) answer "\"$(env | grep -v -e '^PWD=' -e '^_=' -e '^OLDPWD=' -e '^SHLVL=' | cut -d= -f1 | sort | tr '\n' ' ')$SECRET $PWD\"" ;;
    fork) sleep 1000 & answer $! ;;
  esac
done
