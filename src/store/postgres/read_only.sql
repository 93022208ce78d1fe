-- Returns a row if the server accepts no writes, as a standby.
select true
where current_setting('transaction_read_only') = 'on'
