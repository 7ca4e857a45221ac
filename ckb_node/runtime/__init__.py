"""What every long-running part uses: tasks, threads, clock, logs, settings of the interpreter."""
