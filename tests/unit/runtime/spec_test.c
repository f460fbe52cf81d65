/* SPDX-License-Identifier: Apache-2.0 */
/* What options make of a spec: paths, environment, users, numbers. */
#include "runtime/spec.h"

#include "runtime/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct spec new_spec(void)
{
    struct error err = {0};
    struct spec spec;

    assert_int_equal(chdir("/usr"), 0);
    assert_int_equal(spec_init(&spec, &err), 0);
    return spec;
}

static void the_default_root_is_an_overlay(void **state)
{
    struct spec spec = new_spec();

    (void)state;
    assert_int_equal(spec.nr_trees, 1);
    assert_string_equal(spec.trees[0].host, "/");
    assert_int_equal(spec.trees[0].mode, BOOT_TREE_OVERLAY);
    assert_string_equal(spec.cwd, "/usr");
    assert_int_equal(spec.uid, geteuid());
}

static void guest_paths_are_absolute_and_clean(void **state)
{
    static const char *const cases[][3] = {
        {"lib", "lib", "/usr/lib"},     {"./lib/../share", "./lib/../share", "/usr/share"},
        {"/a//b/.", "/a//b/.", "/a/b"}, {"src:/work", "src", "/work"},
        {"a:b", "a:b", "/usr/a:b"},     {"../../../x", "../../../x", "/x"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = {0};
        struct spec spec = new_spec();

        assert_int_equal(spec_add_tree(&spec, cases[i][0], BOOT_TREE_RW, &err), 0);
        assert_string_equal(spec.trees[1].host, cases[i][1]);
        assert_string_equal(spec.trees[1].guest, cases[i][2]);
    }
}

static void a_tree_on_slash_is_the_root(void **state)
{
    struct error err = {0};
    struct spec spec = new_spec();

    (void)state;
    assert_int_equal(spec_add_tree(&spec, "/srv:/", BOOT_TREE_RW, &err), 0);
    assert_int_equal(spec.nr_trees, 1);
    assert_string_equal(spec.trees[0].host, "/srv");
}

static const char *value_of(const struct spec *spec, const char *name)
{
    size_t len = strlen(name);

    for (char **e = spec->envp; *e != NULL; e++) {
        if (strncmp(*e, name, len) == 0 && (*e)[len] == '=') {
            return *e + len + 1;
        }
    }
    return NULL;
}

static void variables_are_set_replaced_and_passed_on(void **state)
{
    struct error err = {0};
    struct spec spec;

    (void)state;
    setenv("PAVISE_TEST", "old", 1);
    spec = new_spec();
    assert_string_equal(value_of(&spec, "PAVISE_TEST"), "old");
    assert_int_equal(spec_set_env(&spec, "PAVISE_TEST=new", &err), 0);
    assert_string_equal(value_of(&spec, "PAVISE_TEST"), "new");
    spec_clear_env(&spec);
    assert_null(value_of(&spec, "PAVISE_TEST"));
    assert_int_equal(spec_set_env(&spec, "PAVISE_TEST", &err), 0);
    assert_string_equal(value_of(&spec, "PAVISE_TEST"), "old");
    assert_int_equal(spec_set_env(&spec, "NOT_SET_ANYWHERE", &err), 0);
    assert_null(value_of(&spec, "NOT_SET_ANYWHERE"));
    assert_int_equal(spec_set_env(&spec, "=x", &err), -1);
}

static void users_are_numbers(void **state)
{
    struct error err = {0};
    struct spec spec = new_spec();

    (void)state;
    assert_int_equal(spec_set_user(&spec, "12", &err), 0);
    assert_int_equal(spec.uid, 12);
    assert_int_equal(spec.gid, 12);
    assert_int_equal(spec_set_user(&spec, "1:2", &err), 0);
    assert_int_equal(spec.gid, 2);
    assert_int_equal(spec_set_user(&spec, "root", &err), -1);
    assert_int_equal(spec_set_user(&spec, "1:", &err), -1);
    assert_int_equal(spec_set_user(&spec, "-1", &err), -1);
    assert_int_equal(spec_set_user(&spec, "4294967295", &err), -1);
}

static void sizes_and_times_have_units(void **state)
{
    u64 v;

    (void)state;
    assert_int_equal(parse_bytes("512M", &v), 0);
    assert_int_equal(v, 512 * MiB);
    assert_int_equal(parse_bytes("1.5k", &v), 0);
    assert_int_equal(v, 1536);
    assert_int_equal(parse_bytes("12", &v), 0);
    assert_int_equal(parse_bytes("12x", &v), -1);
    assert_int_equal(parse_bytes("", &v), -1);
    assert_int_equal(parse_bytes("-1M", &v), -1);
    assert_int_equal(parse_bytes("0", &v), -1);
    assert_int_equal(parse_bytes("99999999T", &v), -1);
    assert_int_equal(parse_duration("250ms", &v), 0);
    assert_int_equal(v, 250000000);
    assert_int_equal(parse_duration("2m", &v), 0);
    assert_int_equal(v, 120 * NSEC_PER_SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_root_is_an_overlay),
        cmocka_unit_test(guest_paths_are_absolute_and_clean),
        cmocka_unit_test(a_tree_on_slash_is_the_root),
        cmocka_unit_test(variables_are_set_replaced_and_passed_on),
        cmocka_unit_test(users_are_numbers),
        cmocka_unit_test(sizes_and_times_have_units),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
