-- Every object of the public schema as one line of text, sorted; daily telemetry partitions are left out.
WITH relations AS (
    SELECT c.oid, c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relacl
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relname !~ '^telemetry_\d{8}' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'i', 'I')
)
SELECT line FROM (
    SELECT format('table %s row_security=%s forced=%s', relname, relrowsecurity, relforcerowsecurity) AS line
    FROM relations WHERE relkind IN ('r', 'p')
    UNION ALL
    SELECT format('column %s.%s %s%s%s', r.relname, a.attname, format_type(a.atttypid, a.atttypmod),
                  CASE WHEN a.attnotnull THEN ' not null' ELSE '' END,
                  coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
                  || CASE a.attidentity WHEN 'a' THEN ' identity' ELSE '' END)
    FROM relations r
    JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
    WHERE r.relkind IN ('r', 'p', 'v', 'm')
    UNION ALL
    SELECT format('constraint %s.%s %s', r.relname, k.conname, pg_get_constraintdef(k.oid))
    FROM relations r JOIN pg_constraint k ON k.conrelid = r.oid AND k.contype <> 'n'
    UNION ALL
    SELECT format('index %s', regexp_replace(pg_get_indexdef(r.oid), ' ON (ONLY )?public\.', ' ON '))
    FROM relations r WHERE r.relkind IN ('i', 'I')
    UNION ALL
    SELECT format('policy %s.%s %s using %s check %s', p.tablename, p.policyname, p.cmd, p.qual, p.with_check)
    FROM pg_policies p WHERE p.schemaname = 'public'
    UNION ALL
    SELECT format('grant %s on %s to %s', g.privileges, g.relname, g.grantee)
    FROM (
        SELECT r.relname, x.grantee::regrole::text AS grantee,
               string_agg(x.privilege_type, ',' ORDER BY x.privilege_type) AS privileges
        FROM relations r, aclexplode(r.relacl) x
        WHERE x.grantee <> 0 AND x.grantee::regrole::text IN ('iiot_app', 'iiot_system')
        GROUP BY r.relname, x.grantee
    ) g
    UNION ALL
    SELECT format('function %s(%s) security_definer=%s', p.proname, pg_get_function_identity_arguments(p.oid), p.prosecdef)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public'
) AS lines
ORDER BY line COLLATE "C";
