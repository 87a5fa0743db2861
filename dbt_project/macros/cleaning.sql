{#- How values are cleaned. Every macro takes a SQL expression and returns one. -#}

{#- Text without blanks around it; empty text is no text. -#}
{% macro clean_text(expression) -%}
    nullif(trim({{ expression }}), '')
{%- endmacro %}

{#- A path in which a folder or file named after an address is not published. -#}
{% macro masked_path(expression) -%}
    regexp_replace({{ expression }}, '[^/]*@[^/]*', '***', 'g')
{%- endmacro %}

{#- A code that is written in upper case (country, currency). -#}
{% macro upper_code(expression) -%}
    upper({{ clean_text(expression) }})
{%- endmacro %}

{#- A code that is written in lower case (kind, status, channel). -#}
{% macro lower_code(expression) -%}
    lower({{ clean_text(expression) }})
{%- endmacro %}

{#- A language tag: zh_CN, zh-cn and ZH-CN are one. -#}
{% macro language_code(expression) -%}
    replace({{ lower_code(expression) }}, '_', '-')
{%- endmacro %}

{#- female, male or other, however the platform writes it; what says nothing is no value. -#}
{% macro gender_code(expression) -%}
    case
        when {{ lower_code(expression) }} in ('f', 'female', 'w', 'woman', '女', '女性') then 'female'
        when {{ lower_code(expression) }} in ('m', 'male', 'man', '男', '男性') then 'male'
        when {{ lower_code(expression) }} in ('u', 'unknown', 'none', 'n/a', 'na', 'not specified', '未知', '保密') then null
        when {{ clean_text(expression) }} is not null then 'other'
    end
{%- endmacro %}

{#- A name for comparing: composed Unicode, single blanks, lower case. -#}
{% macro comparable_name(expression) -%}
    lower(trim(regexp_replace(nfc_normalize({{ expression }}), '\s+', ' ', 'g')))
{%- endmacro %}

{#- Tags (topics, genres, countries): comparable names, each once, sorted. An absent list is an empty one. -#}
{% macro clean_tags(expression) -%}
    coalesce(
        list_sort(list_distinct(list_filter(
            list_transform({{ expression }}, lambda tag: {{ comparable_name('tag') }}), lambda tag: tag != ''
        ))),
        cast([] as varchar[])
    )
{%- endmacro %}

{#- Names of people: single blanks, each once, in the order given. An absent list is an empty one. -#}
{% macro clean_names(expression) -%}
    {%- set names -%}
        list_filter(
            list_transform({{ expression }}, lambda name: trim(regexp_replace(nfc_normalize(name), '\s+', ' ', 'g'))),
            lambda name: name != ''
        )
    {%- endset -%}
    coalesce(
        list_filter(
            {{ names }},
            lambda name, place: list_position(
                list_transform({{ names }}, lambda other: lower(other)), lower(name)
            ) = place
        ),
        cast([] as varchar[])
    )
{%- endmacro %}
