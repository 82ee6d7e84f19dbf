#!/bin/sh
# Makes the database cluster at the first start, then becomes the server; arguments are its options.
set -eu
umask 077
: "${POSTGRES_PASSWORD:?has to be given}" "${POSTGRES_USER:=postgres}"
: "${POSTGRES_DB:=$POSTGRES_USER}"

if [ ! -d "$PGDATA" ]; then
    unfinished="$PGDATA.new" # renamed when whole, so an interrupted start is started over
    rm -rf "$unfinished"
    printf '%s' "$POSTGRES_PASSWORD" >"$HOME/password"
    initdb --pgdata="$unfinished" --username="$POSTGRES_USER" --pwfile="$HOME/password" \
        --auth=scram-sha-256 --encoding=UTF8 --no-locale --no-instructions
    rm "$HOME/password"
    echo 'host all all all scram-sha-256' >>"$unfinished/pg_hba.conf"
    if [ "$POSTGRES_DB" != postgres ]; then
        echo "CREATE DATABASE \"$POSTGRES_DB\" TEMPLATE template0" | postgres --single -D "$unfinished" postgres
    fi
    mv "$unfinished" "$PGDATA"
fi

exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories= -c timezone=UTC "$@"
